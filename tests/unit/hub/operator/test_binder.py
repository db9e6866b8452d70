"""Inputs as the controller binds them: when they are due, what is rendered, and how often."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.contract.health import HealthState, SyncState
from hub.api.application import ApplicationSpec
from hub.core.graph import AppGraph
from hub.core.inputs import LIMIT, WINDOW
from hub.core.model import AppNode, Observed
from hub.core.outputs import Exported
from hub.core.plan import stamp
from hub.operator import binder as module
from hub.operator.binder import Binder
from hub.operator.state import Target
from tests.unit.hub.operator.plan_rig import NAMESPACE, Hub

KEY = f"{NAMESPACE}/web"
DB = f"{NAMESPACE}/db"


def spec() -> dict[str, Any]:
    source = {
        "repoURL": "https://git.example.com/a",
        "path": "app",
        "helm": {"values": {"db": "{{ inputs.db }}"}},
    }
    return {
        "cluster": "eu1",
        "namespace": "web",
        "sources": [source],
        "inputs": [{"as": "db", "name": "db", "output": "url"}],
    }


class Bed:
    def __init__(self) -> None:
        self.hub = Hub()
        self.hub.cluster("eu1", labels={})
        self.graph = AppGraph()
        self.asked: list[str] = []
        self.woken: list[str] = []
        self.binder = Binder(self.hub.context, self.graph, wake=self.woken.append)
        self.binder.ask = self.asked.append
        self.hub.caches.applications.observe(
            None, {"kind": "Application", "metadata": self.hub._meta("web", NAMESPACE), "spec": spec()}
        )
        self.state = self.hub.context.state
        self.state.targets[KEY] = Target(plan=1, unbound=True)
        model = ApplicationSpec.model_validate(spec())
        self.graph.upsert(
            AppNode(key=KEY, cluster="eu1", depends_on=model.edges(), inputs=tuple(model.inputs))
        )
        self.produce("1")

    def produce(self, value: str, **fields: Any) -> None:
        node = AppNode(
            key=DB,
            cluster="eu1",
            target="t",
            released="t",
            release=1,
            observed=Observed(release=1, digest="t", health=HealthState.HEALTHY, sync=SyncState.SYNCED),
            exports={"url": ()},
            outputs=(Exported("url", json.dumps(value), "t"),),
        )
        self.graph.upsert(replace(node, **fields))

    def look(self) -> None:
        self.asked.clear()
        self.binder.look([KEY], self.hub.context.fleet())

    async def bind(self) -> bool:
        return bool(await self.binder.bind({KEY}))

    @property
    def values(self) -> Any:
        return self.state.bound[KEY].values

    def due(self) -> float:
        """Seconds until something is done by itself; 0 for nothing."""
        timer = self.binder._timers.get(KEY)
        return timer.when() - asyncio.get_running_loop().time() if timer else 0.0


async def test_a_target_that_waits_is_made_at_once_and_only_once() -> None:
    bed = Bed()
    bed.look()
    assert bed.asked == [KEY]
    assert await bed.bind()
    assert bed.values == {"db": "1"}
    assert bed.state.targets[KEY].digest
    assert not await bed.bind()
    bed.look()
    assert (bed.asked, bed.due(), len(bed.hub.renders.calls)) == ([], 0.0, 1)


async def test_a_new_value_waits_a_moment_and_one_that_goes_back_is_nothing() -> None:
    bed = Bed()
    await bed.bind()
    bed.produce("2")
    bed.look()
    assert bed.asked == []
    assert 0 < bed.due() <= module.DEBOUNCE
    first = bed.due()
    bed.produce("3")
    bed.look()
    assert bed.due() <= first  # more changes do not put it off for ever
    bed.produce("1")
    bed.look()
    assert bed.due() == 0
    bed.produce("2", target="newer")  # on its way: nothing is bound to what it was
    bed.look()
    assert (bed.due(), await bed.bind(), bed.values) == (0, False, {"db": "1"})


async def test_f48_what_changes_too_often_is_told_and_taken_up_again_later() -> None:
    bed = Bed()
    await bed.bind()
    for turn in range(LIMIT):
        bed.hub.now += timedelta(seconds=1)
        bed.produce(f"turn {turn}")
        bed.look()
        assert KEY not in bed.state.flapping
        assert await bed.bind()
    bed.produce("one too many")
    bed.look()
    assert "6 times in 10 minutes" in bed.state.flapping[KEY]
    assert bed.woken == [KEY]
    assert module.DEBOUNCE < bed.due() <= WINDOW.total_seconds()
    assert bed.values == {"db": f"turn {LIMIT - 1}"}
    told = bed.state.input_changes.pop(KEY)  # another hub process knows it from the status
    obj = bed.hub.caches.applications.get(KEY)
    status = {"inputChanges": [{"at": stamp(each)} for each in told]}
    meta = bed.hub._meta("web", NAMESPACE)
    bed.hub.caches.applications.observe(obj, obj | {"metadata": meta, "status": status})
    bed.state.flapping.clear()
    bed.binder.close()
    bed.look()
    assert "6 times in 10 minutes" in bed.state.flapping[KEY]
    bed.hub.now += WINDOW
    bed.binder.close()
    bed.look()
    assert 0 < bed.due() <= module.DEBOUNCE
    assert await bed.bind()
    assert KEY not in bed.state.flapping
    assert bed.values == {"db": "one too many"}
    bed.binder.close()


async def test_a_value_that_cannot_be_rendered_is_a_problem_of_its_target() -> None:
    bed = Bed()
    await bed.bind()
    broken = spec()
    broken["sources"][0]["helm"]["values"] = {"db": "{{ inputs.db.host }}"}
    metadata = bed.hub._meta("web", NAMESPACE)
    bed.hub.caches.applications.observe(None, {"kind": "Application", "metadata": metadata, "spec": broken})
    bed.produce("2")
    assert await bed.bind()
    assert bed.state.targets[KEY].problem.startswith("InputMisused: ")


async def test_what_is_gone_is_forgotten() -> None:
    bed = Bed()
    await bed.bind()
    bed.graph.remove(KEY)
    bed.look()
    assert KEY not in bed.state.bound


@pytest.mark.parametrize("field", ["pinned", "deleting"])
async def test_what_is_pinned_or_goes_takes_nothing_new(field: str) -> None:
    bed = Bed()
    await bed.bind()
    node = bed.graph.get(KEY)
    assert node is not None
    bed.graph.upsert(replace(node, **{field: "person" if field == "pinned" else True}))
    bed.produce("2")
    bed.look()
    assert (bed.asked, bed.due()) == ([], 0.0)
