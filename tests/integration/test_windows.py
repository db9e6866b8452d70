"""A release waits for its cluster's maintenance window, and goes when there is none any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hub.api.registry import APPLICATION, CLUSTER
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


async def test_outside_its_window_nothing_goes_to_a_cluster(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as made:
        port = free_port()
        await made.hub("first", port)
        await made.commit(web="1")
        await made.join(port)

        async def joined() -> bool:
            found = await made._get(CLUSTER.path(name=made.cluster))
            return bool(((found or {}).get("status") or {}).get("sealingKey"))

        await made.until("it has joined", joined)
        later = datetime.now(UTC) + timedelta(hours=5)
        windows = [{"start": f"{later.minute} {later.hour} * * *", "duration": "1h"}]
        path = CLUSTER.path(name=made.cluster)
        await made.client.merge_patch(path, {"spec": {"maintenanceWindows": windows}})
        await made.put(APPLICATION, "web", made.spec("web"))

        async def held() -> bool:
            blocked = ((await made.app("web")).get("status") or {}).get("blockedBy") or [{}]
            return blocked[0].get("edge") == "Window" and "opens at" in blocked[0]["message"]

        await made.until("it waits for the window", held)
        await made.client.merge_patch(path, {"spec": {"maintenanceWindows": None}})
        await made.deployed("web", "1")
