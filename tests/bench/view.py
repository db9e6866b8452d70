"""What the API servers show, as it changes: the objects, a mark for each step, and whose goals it reaches."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from agent.contract.names import AGENT_NAMESPACE, LABEL_CLUSTER, LABEL_SET, LABEL_STATE
from agent.kube.reflector import Reflector
from hub.operator import paths
from tests.bench.marks import BenchFailed, Goal, Mark, Step, clock
from tests.bench.repository import LABEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_SYNC_SECONDS = 30.0
_POLL = 0.1
_KEPT = {
    "assignment": Step.KEPT_ASSIGNMENT,
    "app": Step.KEPT_APP,
    "inventory": Step.KEPT_INVENTORY,
}


class View:
    """Our own watches, none of the hub's: the time of a mark is that of the event's arrival here."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.last = clock()
        self._goals: list[Goal] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._hub: dict[str, Reflector] = {}
        self._spokes: dict[str, Reflector] = {}

    # -- life

    async def follow_hub(self, client: RestClient) -> None:
        kinds: dict[str, tuple[str, Callable[[Manifest | None, Manifest | None], None]]] = {
            "sets": (paths.APPLICATION_SETS, self._set),
            "apps": (paths.APPLICATIONS, self._app),
            "assignments": (paths.ASSIGNMENTS, self._assignment),
            "clusters": (paths.CLUSTERS, lambda old, new: None),
        }
        for name, (path, notice) in kinds.items():
            self._hub[name] = await self._follow(name, client, path, notice, transform=_lean)

    async def follow_spoke(self, name: str, client: RestClient, *, state: bool = True) -> None:
        """`state`: also what the agents keep there, which takes some of the machine that is measured."""
        self._spokes[name] = await self._follow(
            f"{name} configmaps",
            client,
            "/api/v1/configmaps",
            self._config_map,
            label_selector=f"{LABEL}=yes",
        )
        if state:
            path = f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets"
            await self._follow(f"{name} secrets", client, path, self._secret, transform=_no_data)

    async def stop(self, *names: str) -> None:
        """End these watches, or all of them."""
        tasks = [self._tasks.pop(name) for name in names or tuple(self._tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(
        self,
        name: str,
        client: RestClient,
        path: str,
        notice: Callable[[Manifest | None, Manifest | None], None],
        *,
        label_selector: str = "",
        transform: Callable[[Manifest], Manifest] | None = None,
    ) -> Reflector:
        reflector = Reflector(client, path, label_selector=label_selector, transform=transform)

        def noticed(old: Manifest | None, new: Manifest | None) -> None:
            self.last = clock()
            notice(old, new)
            self.check()

        reflector.subscribe(noticed)
        self._tasks[name] = asyncio.create_task(reflector.run(), name=path)
        await reflector.wait_synced(_SYNC_SECONDS)
        return reflector

    # -- what is there

    def set(self, namespace: str, name: str) -> Manifest:
        return self._hub["sets"].items.get((namespace, name)) or {}

    def children(self, name: str) -> list[Manifest]:
        """The Applications of the set of this name."""
        return [
            app
            for app in self._hub["apps"].items.values()
            if (app["metadata"].get("labels") or {}).get(LABEL_SET) == name
        ]

    def clusters(self) -> list[Manifest]:
        return list(self._hub["clusters"].items.values())

    def config_maps(self, spoke: str) -> list[Manifest]:
        return list(self._spokes[spoke].items.values())

    def config_map(self, spoke: str, namespace: str, name: str) -> Manifest | None:
        return self._spokes[spoke].items.get((namespace, name))

    # -- goals

    def mark(self, step: Step, at: float, subject: str) -> None:
        self.marks.append(Mark(step, at, subject))

    def check(self) -> None:
        for goal in self._goals:
            goal.check(self.last)

    @contextlib.asynccontextmanager
    async def goal(self, name: str, test: Callable[[], bool]) -> AsyncIterator[Goal]:
        """A goal that is looked at with each event, for as long as the block lasts."""
        goal = Goal(name, test)
        self._goals.append(goal)
        goal.check(clock())
        try:
            yield goal
        finally:
            self._goals.remove(goal)

    async def until(self, name: str, test: Callable[[], bool], *, seconds: float = 120.0) -> None:
        """Wait for what is no part of a measurement."""
        async with self.goal(name, test) as goal:
            await goal.wait(seconds=seconds, settle=0.0)

    async def quiet(self, *, for_seconds: float = 1.0, seconds: float = 60.0) -> None:
        """Until nothing has happened for a while: what went before is over."""
        deadline = clock() + seconds
        self.last = clock()
        while clock() - self.last < for_seconds:
            if clock() > deadline:
                raise BenchFailed(f"the fleet does not come to rest in {seconds:.0f} s")
            await asyncio.sleep(_POLL)

    # -- events

    def _set(self, old: Manifest | None, new: Manifest | None) -> None:
        if new is None:
            return
        before, after = _status(old), _status(new)
        name = new["metadata"]["name"]
        if _at(before, "plan", "id") != _at(after, "plan", "id"):
            self.mark(Step.PLAN, self.last, name)
        rollup = [(each.get("health"), each.get("sync")) for each in (before, after)]
        if rollup[0] != rollup[1]:
            self.mark(Step.SET, self.last, name)
            if all_done(new):
                self.mark(Step.SET_DONE, self.last, name)

    def _app(self, old: Manifest | None, new: Manifest | None) -> None:
        if new is None:
            return
        name = new["metadata"]["name"]
        if old is None:
            self.mark(Step.CHILD, self.last, name)
        elif old["metadata"].get("generation") != new["metadata"].get("generation"):
            self.mark(Step.CHILD_UPDATED, self.last, name)
        before, after = _status(old), _status(new)
        for step, field in ((Step.TARGET, "target"), (Step.RELEASED, "released")):
            value = _at(after, "sync", field)
            if value and value != _at(before, "sync", field):
                self.mark(step, self.last, name)
        if before.get("observed") != after.get("observed"):
            done = reported(new)
            self.mark(Step.OBSERVED if done else Step.OBSERVED_EARLY, self.last, name)
        if child_done(new) and not (old is not None and child_done(old) and _same_target(old, new)):
            self.mark(Step.CHILD_DONE, self.last, name)

    def _assignment(self, old: Manifest | None, new: Manifest | None) -> None:
        if new is not None and (old is None or old["spec"] != new["spec"]):
            self.mark(Step.ASSIGNED, self.last, new["metadata"]["name"])

    def _secret(self, old: Manifest | None, new: Manifest | None) -> None:
        state = ((new or {}).get("metadata") or {}).get("labels", {}).get(LABEL_STATE)
        if new is not None and state in _KEPT:
            self.mark(_KEPT[state], self.last, new["metadata"]["name"])

    def _config_map(self, old: Manifest | None, new: Manifest | None) -> None:
        if new is not None and (old is None or old.get("data") != new.get("data")):
            self.mark(Step.APPLIED, self.last, f"{new['metadata']['namespace']}/{new['metadata']['name']}")


def all_done(obj: Manifest, count: int | None = None) -> bool:
    """Whether the set says that all its children (`count`, if given) are Synced and Healthy."""
    status = _status(obj)
    children = status.get("children") if count is None else count
    healthy = (_at(status, "health", "counts") or {}).get("Healthy")
    return bool(children) and healthy == children == (status.get("sync") or {}).get("Synced")


def reported(app: Manifest) -> bool:
    """Whether its agent said that it runs its target, Synced and Healthy."""
    status = _status(app)
    observed = status.get("observed") or {}
    return (
        bool(observed.get("digest"))
        and observed.get("digest") == _at(status, "sync", "target")
        and observed.get("sync") == "Synced"
        and observed.get("health") == "Healthy"
    )


def child_done(app: Manifest) -> bool:
    """Whether its own status says that it is Synced at its target and Healthy."""
    status = _status(app)
    sync = status.get("sync") or {}
    return (
        bool(sync.get("live"))
        and sync.get("live") == sync.get("target")
        and sync.get("state") == "Synced"
        and _at(status, "health", "state") == "Healthy"
    )


def target_of(app: Manifest) -> str:
    return str(_at(_status(app), "sync", "target") or "")


def cluster_of(app: Manifest) -> str:
    return str((app["metadata"].get("labels") or {}).get(LABEL_CLUSTER) or app["spec"]["cluster"])


def _same_target(old: Manifest, new: Manifest) -> bool:
    return target_of(old) == target_of(new)


def _status(obj: Manifest | None) -> dict[str, Any]:
    return (obj or {}).get("status") or {}


def _at(status: dict[str, Any], part: str, field: str) -> Any:
    return (status.get(part) or {}).get(field)


def _lean(obj: Manifest) -> Manifest:
    obj["metadata"].pop("managedFields", None)
    return obj


def _no_data(obj: Manifest) -> Manifest:
    return {"metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}
