"""Why a workload is not available: its Pods are watched while that lasts, and not looked at otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, TypeAlias

from agent.apply.causes import SILENT, Refusal, refusal
from agent.contract.errors import AxletreeError
from agent.contract.health import HealthState
from agent.contract.manifest import GroupKind, ObjectRef
from agent.health.pods import SCHEDULE_WINDOW, pod, pod_reasons
from agent.health.result import HealthResult, degraded, progressing, status_of
from agent.kube.reflector import Reflector
from agent.kube.selectors import SelectorError, parse_selector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

logger = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, ObjectRef]
"""(app, workload)"""
Tell: TypeAlias = "Callable[[list[Manifest]], Awaitable[None]]"

WORKLOADS = frozenset(
    {
        GroupKind("apps", "Deployment"),
        GroupKind("apps", "StatefulSet"),
        GroupKind("apps", "DaemonSet"),
        GroupKind("batch", "Job"),
    }
)
FIRST = 0.4
"""Seconds that a workload may take before its Pods are looked at: most become available sooner."""
WATCHES = 8
"""Workloads whose Pods are watched at once: each is a connection. Those of more are read now and then."""
EVERY = 2.0
PATIENCE = 30.0
"""Seconds after which they are read less and less often, down to every `SLOWEST`."""
SLOWEST = 15.0
_SETTLE = 0.03
"""Seconds in which events are gathered: Pods come in crowds."""
_AT_ONCE = 4
_HASHES = ("pod-template-hash", "controller-revision-hash")


def verdict(pods: list[Manifest], *, now: datetime) -> HealthResult | None:
    """What the Pods say of their workload: Degraded where it does not pass by itself, else why it waits.

    Only the newest revision counts: what a broken one left behind goes as the new one comes. Failed Pods of a
    workload that replaces them are history.
    """
    current = [each for each in _newest(pods) if status_of(each).get("phase") != "Failed"]
    reason = pod_reasons(current)
    if not reason:
        return None
    broken = any(pod(each, now=now).state is HealthState.DEGRADED for each in current)
    return degraded(reason) if broken else progressing(reason)


def refused(said: Refusal, *, now: datetime) -> HealthResult:
    """Its Pods cannot be made: for a moment that may pass (an account that comes a little later), then it does not."""
    return (degraded if now - said.since > SCHEDULE_WINDOW else progressing)(said.message)


def _newest(pods: list[Manifest]) -> list[Manifest]:
    hashes = {id(each): _revision(each) for each in pods}
    if len(set(hashes.values())) < 2:  # noqa: PLR2004 - one revision needs no choice
        return pods
    born = {id(each): str(each["metadata"].get("creationTimestamp", "")) for each in pods}
    last = max(born.values())
    # Times are whole seconds: revisions that tie are all taken for the newest.
    latest = {hashes[id(each)] for each in pods if born[id(each)] == last}
    return [each for each in pods if hashes[id(each)] in latest]


def _revision(obj: Manifest) -> str:
    labels = obj["metadata"].get("labels") or {}
    return next((str(labels[key]) for key in _HASHES if key in labels), "")


def _slim(obj: Manifest) -> Manifest:
    """Without whose field is whose, which is half of a Pod."""
    return {**obj, "metadata": {**obj["metadata"], "managedFields": None}}


class PodInspector:
    """Watches the Pods of workloads that are not available, and tells what they say: None for nothing."""

    def __init__(
        self,
        client: RestClient,
        *,
        on_verdict: Callable[[str, ObjectRef, HealthResult | None], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._on_verdict = on_verdict
        self._clock = clock
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._reads = asyncio.Semaphore(_AT_ONCE)
        self._watches = asyncio.Semaphore(WATCHES)

    def follow(self, app: str, ref: ObjectRef, workload: Manifest) -> None:
        """Begin, or go on: the selector is immutable, so that the first object seen will do."""
        if (app, ref) in self._tasks or ref.group_kind not in WORKLOADS:
            return
        task = asyncio.create_task(self._run(app, ref, workload), name=f"pods of {ref}")
        self._tasks[app, ref] = task
        task.add_done_callback(lambda done: self._ended((app, ref), done))

    def leave(self, app: str, ref: ObjectRef) -> None:
        task = self._tasks.pop((app, ref), None)
        if task is not None:
            task.cancel()

    def leave_app(self, app: str) -> None:
        for key in [key for key in self._tasks if key[0] == app]:
            self.leave(*key)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, app: str, ref: ObjectRef, workload: Manifest) -> None:
        try:
            selector = str(parse_selector((workload.get("spec") or {}).get("selector")))
        except SelectorError as error:
            logger.info("pods of %s: %s", ref, error)
            return
        if not selector:
            return
        path = f"/api/v1/namespaces/{ref.namespace}/pods"

        async def tell(pods: list[Manifest]) -> None:
            said = verdict(pods, now=self._clock())
            if said is None and ref.group_kind in SILENT:
                alive = [one for one in pods if status_of(one).get("phase") not in {"Failed", "Succeeded"}]
                refusing = await refusal(self._client, workload, alive)
                said = refused(refusing, now=self._clock()) if refusing else None
            self._on_verdict(app, ref, said)

        await asyncio.sleep(FIRST)
        await self._read(path, selector, tell)
        async with self._watches:
            await self._watch(path, selector, tell)

    async def _read(self, path: str, selector: str, tell: Tell) -> None:
        """Look now and then, for as long as there is no watch to have."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._watches.locked():
            try:
                async with self._reads:
                    await tell((await self._client.list(path, label_selector=selector)).items)
            except AxletreeError as error:
                logger.info("%s: %s", path, error)
            waited = loop.time() - began
            pause = EVERY if waited < PATIENCE else min(SLOWEST, waited / 10)
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311 - jitter

    async def _watch(self, path: str, selector: str, tell: Tell) -> None:
        """Tell of each change, and once in a while of none: how long a Pod waits is told by the clock."""
        changed = asyncio.Event()
        reflector = Reflector(self._client, path, label_selector=selector, transform=_slim)
        reflector.subscribe(lambda _old, _new: changed.set())
        async with asyncio.TaskGroup() as group:
            group.create_task(reflector.run(), name=f"watch {path} {selector}")
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY * random.uniform(0.9, 1.1)):  # noqa: S311 - jitter
                        await changed.wait()
                        await asyncio.sleep(_SETTLE)
                changed.clear()
                if reflector.synced:
                    await tell(list(reflector.items.values()))

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and task.exception() is not None:
            logger.error("pods of %s", key[1], exc_info=task.exception())
