"""Back to green, so that what fails in one test fails in that one only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError
from agent.contract.names import GROUP, LABEL_SET
from e2e.rig import GREEN_SECONDS, SAMPLE_SETS, SPOKES
from e2e.words import APPS, CLUSTERS, NAMESPACES, ROOT, SETS, one
from hub.fleet.names import HUB
from hub.fleet.services import HUB as HUB_SERVICE
from hub.fleet.services import agent_of

if TYPE_CHECKING:
    from e2e.rig import Rig


_PATIENCE = 15.0
"""A busy machine may have an agent count as silent for a moment."""


async def recover(rig: Rig) -> None:
    """Before a test: green from whatever an earlier one left, by all means where it must be."""
    try:
        await rig.hub.eventually(rig.green, seconds=_PATIENCE)
    except AssertionError:
        await release_namespaces(rig)
        await _remove_strangers(rig)
        for service in (HUB_SERVICE, *(agent_of(name) for name in (HUB, *SPOKES))):
            if rig.fleet.services.running(service):
                await rig.kill(service)
        await _start(rig)
        await _write_all(rig)
        await restore(rig)


async def restore(rig: Rig) -> None:
    """After a test: services run, Git says what it said at first, and the fleet follows by itself."""
    await _start(rig)
    commit = await rig.checkout.first()
    await rig.refresh()

    def back() -> None:
        for key in SAMPLE_SETS:
            rig.planned(key, commit)
        rig.green()

    await rig.hub.eventually(back, seconds=GREEN_SECONDS)


async def release_namespaces(rig: Rig) -> None:
    """What a person has to do who deleted a namespace by mistake: let its objects on the hub go, nothing else."""
    for name, namespace in rig.hub.all(NAMESPACES).items():
        if "deletionTimestamp" not in namespace["metadata"]:
            continue
        for path in (APPS, SETS):
            for key in rig.hub.all(path):
                if key.startswith(f"{name}/"):
                    await _let_go(rig, one(path, key))


async def _let_go(rig: Rig, path: str) -> None:
    with contextlib.suppress(ApiError):  # gone meanwhile
        await rig.hub.client.merge_patch(path, {"metadata": {"finalizers": None}})


async def _start(rig: Rig) -> None:
    rig.fleet.services.start_git(rig.fleet.root / "git")
    await rig.start_hub()
    for name in (HUB, *SPOKES):
        rig.start_agent(name)


async def _remove_strangers(rig: Rig) -> None:
    """Clusters and hand-written Applications that the sample does not have."""
    for name in rig.hub.all(CLUSTERS):
        if name not in (HUB, *SPOKES):
            note = {"metadata": {"annotations": {f"{GROUP}/force-remove": "true"}}}
            await rig.hub.client.merge_patch(one(CLUSTERS, name), note)
            await rig.hub.client.delete(one(CLUSTERS, name))
    for name in rig.fleet.names():
        if name not in (HUB, *SPOKES):
            await rig.fleet.remove(name)
    for key, app in rig.hub.all(APPS).items():
        if key != ROOT and LABEL_SET not in (app["metadata"].get("labels") or {}):
            with contextlib.suppress(ApiError):
                await rig.hub.client.delete(one(APPS, key))


async def _write_all(rig: Rig) -> None:
    """A release of the one app whose drift is left alone writes all of it, whatever was done by hand."""
    await rig.checkout.first()
    name = "dev/playground/playground.yaml"
    commit = await rig.replace("Anew", name, '{debug: "true"}', '{anew: "yes", debug: "true"}')

    def written() -> None:
        rig.planned("dev/dev", commit)
        rig.live("dev/playground-lab1")

    with contextlib.suppress(AssertionError):
        await rig.hub.eventually(written)
