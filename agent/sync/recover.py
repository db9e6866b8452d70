"""An inventory that was lost, made anew from the cluster.

Membership by label alone is not ours: controllers copy labels. What counts is an object whose part-of label our
own field manager put there. The kinds to look in are those that the app's bundle has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.apply.fields import owns_label
from agent.apply.inventory import Entry, Inventory
from agent.contract.manifest import ref_of
from agent.contract.names import APPLYSET_PART_OF
from agent.kube.discovery import NoMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper


async def recover_inventory(
    client: RestClient,
    mapper: RestMapper,
    *,
    applyset: str,
    manager: str,
    kinds: Mapping[tuple[str, str], str],
) -> Inventory:
    """List what is the app's. `kinds`: (group, kind) -> version. Any failure raises: half is no inventory."""
    entries: list[Entry] = []
    for (group, kind), version in kinds.items():
        try:
            resource = await mapper.resource(f"{group}/{version}" if group else version, kind)
        except NoMatch:
            continue
        listing = await client.list(resource.path(), label_selector=f"{APPLYSET_PART_OF}={applyset}")
        entries += [
            Entry(ref_of(item), version, item["metadata"]["uid"])
            for item in listing.items
            if owns_label(item, manager, APPLYSET_PART_OF)
        ]
    return Inventory.of(entries)
