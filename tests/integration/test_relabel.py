"""A real hub: a cluster's labels change, and what its children are made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.names import LABEL_CLUSTER
from hub.api.registry import APPLICATION_SET, CLUSTER
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


async def test_a_relabelled_cluster_has_its_children_made_anew_and_another_appears(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as made:
        port = free_port()
        await made.hub("first", port)
        await made.led_by("first")
        await made.project()
        await made.commit(db="1")
        await made.join(port)

        async def joined() -> bool:
            found = (await made.client.list(CLUSTER.path())).items
            return made.cluster in {obj["metadata"]["name"] for obj in found}

        await made.until("the cluster has joined", joined)

        async def relabel(**labels: str | None) -> None:
            await made.client.merge_patch(CLUSTER.path(name=made.cluster), {"metadata": {"labels": labels}})

        def holds(**wanted: str) -> Any:
            async def there() -> bool:
                found = {
                    name: obj["metadata"]["labels"].get("team", "")
                    for name, obj in (await made.apps()).items()
                    if obj["metadata"]["labels"].get(LABEL_CLUSTER) == made.cluster
                    and not ((obj.get("status") or {}).get("deletion"))
                }
                return found == wanted

            return there

        await relabel(team="red")
        template = {
            "metadata": {"name": "{{ app }}", "labels": {"team": "{{ cluster.labels.team }}"}},
            "spec": made.spec("db") | {"cluster": "{{ cluster.name }}"},
        }
        both: list[dict[str, Any]] = [
            {"clusters": {"names": [made.cluster], "values": {}}},
            {"clusters": {"selector": {"matchLabels": {"team": "blue"}}}},
        ]
        apps = [{"list": {"elements": [{"app": name}]}} for name in ("always", "blue")]
        generators = [{"matrix": {"generators": list(pair)}} for pair in zip(both, apps, strict=True)]
        await made.put(APPLICATION_SET, "teams", {"generators": generators, "template": template})
        await made.until("the first child is there", holds(always="red"))
        await relabel(team="blue")
        await made.until("both are of the new team", holds(always="blue", blue="blue"))
        await relabel(team="green")
        await made.until("what is no longer chosen goes", holds(always="green"))
