"""A real agent process whose memory ends."""

from __future__ import annotations

import asyncio
import resource
import signal
from pathlib import Path

import pytest

from agent.contract.names import APPLYSET_PART_OF
from tests.integration.agent_rig import config_map, eventually
from tests.integration.test_agent_killed import Process, process

pytestmark = pytest.mark.cluster
__all__ = ["process"]
SIZE, COUNT = 400_000, 24
ROOM = 8 * 1024 * 1024


async def test_f26_an_agent_out_of_memory_deletes_nothing_and_goes_on_when_there_is_some(
    process: Process,
) -> None:
    rig = process.rig
    await rig.deploy("small", config_map("small", v="1"))
    await rig.live_when(rig.path("configmaps", "small"), lambda obj: obj is not None)
    assert process.process is not None
    pid = process.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (_virtual(pid) + ROOM, hard))
    large = [config_map(f"large-{index}", text="x" * SIZE) for index in range(COUNT)]
    await rig.deploy("large", *large)
    await rig.deploy("small", config_map("small", v="2"), config_map("more", v="2"))
    await asyncio.sleep(3)  # it fails meanwhile, in one way or another

    async def names() -> list[str]:
        path = f"/api/v1/namespaces/{rig.namespace}/configmaps"
        listing = await rig.client.list(path, label_selector=APPLYSET_PART_OF)
        return sorted(item["metadata"]["name"] for item in listing.items)

    found = await names()
    assert "small" in found
    assert len(found) < COUNT, "there was memory enough"
    await process.end(signal.SIGKILL)  # where it did not end by itself
    await process.start()

    wanted = sorted(["small", "more", *(each["metadata"]["name"] for each in large)])
    await eventually(names, wanted)


def _virtual(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()
