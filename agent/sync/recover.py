"""An inventory that was lost, made anew from the cluster.

Membership by label alone is not ours: controllers copy labels. What counts is an object whose part-of label our
own field manager put there. The kinds to look in are those that the app's bundle has, and that its Secret names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.apply.fields import owns_label
from agent.apply.inventory import Entry, Inventory
from agent.contract.manifest import ref_of
from agent.contract.names import APPLYSET_GROUP_KINDS, APPLYSET_PART_OF
from agent.kube.discovery import NoMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest
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
    """List what is the app's. `kinds`: (group, kind) -> version, empty: any. A failure raises: half is no inventory."""
    entries: list[Entry] = []
    for (group, kind), version in kinds.items():
        try:
            if version:
                resource = await mapper.resource(f"{group}/{version}" if group else version, kind)
            else:
                resource = await mapper.preferred(group, kind)
        except NoMatch:
            continue
        listing = await client.list(resource.path(), label_selector=f"{APPLYSET_PART_OF}={applyset}")
        entries += [
            Entry(ref_of(item), resource.version, item["metadata"]["uid"])
            for item in listing.items
            if owns_label(item, manager, APPLYSET_PART_OF)
        ]
    return Inventory.of(entries)


def kinds_of(secret: Manifest) -> dict[tuple[str, str], str]:
    """The kinds that an inventory's Secret names beside its data, which may read where that does not."""
    text = str((secret["metadata"].get("annotations") or {}).get(APPLYSET_GROUP_KINDS, ""))
    pairs = (each.strip().partition(".") for each in text.split(","))
    return {(group, kind): "" for kind, _, group in pairs if kind}
