"""Watches on what the apps of one agent applied: one a kind, selected by the ApplySet label.

Up to `LISTED` apps, the selector names them, so that several agents on one API server do not see each
other's objects; beyond, it asks only for the label, and the rest is filtered here. A watch is replaced only when an app
comes that its selector leaves out, and the old one goes on until the new one has its list: nothing is missed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.apply.plan import Unseen
from agent.contract.manifest import GroupKind, ref_of
from agent.contract.names import APPLYSET_PART_OF
from agent.kube.reflector import CacheNotSynced, Reflector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.apply.plan import Live
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.kube.client import RestClient
    from agent.kube.discovery import ApiResource

logger = logging.getLogger(__name__)

LISTED = 50
_SETTLE = 0.01
"""Seconds in which new apps are gathered: the apps of one assignment make one change of the watches."""
_SYNC_SECONDS = 60.0


@dataclass(slots=True)
class _Watch:
    """One running reflector and the apps that its selector covers; None: all."""

    covered: frozenset[str] | None
    reflector: Reflector
    task: asyncio.Task[None]


class WatchSet:
    """Keeps a watch for each kind that some app has, and tells of each change of an app's object.

    `on_change(applyset, ref, old, new)` is called synchronously; `new` is None for an object that is gone, or
    no longer carries that label. Events may repeat and, while a watch is replaced, lag: the receiver compares
    versions. `on_synced(resource)` says that what is not known by now is not there.
    """

    def __init__(
        self,
        client: RestClient,
        *,
        transform: Callable[[Manifest], Manifest],
        on_change: Callable[[str, ObjectRef, Manifest, Manifest | None], None],
        on_synced: Callable[[ApiResource], None],
    ) -> None:
        self._client = client
        self._transform = transform
        self._on_change = on_change
        self._on_synced = on_synced
        self._kinds: dict[str, dict[GroupKind, ApiResource]] = {}
        self._expected: frozenset[str] = frozenset()
        self._watches: dict[ApiResource, _Watch] = {}
        self._fresh: dict[ApiResource, tuple[_Watch, asyncio.Task[None]]] = {}
        self._changed = asyncio.Event()
        self._synced = asyncio.Event()

    def expect(self, applysets: Iterable[str]) -> None:
        """All apps that there are: a watch covers them from its start, and none begins anew as each of them comes."""
        self._expected = frozenset(applysets)

    def want(self, applyset: str, kinds: Iterable[ApiResource]) -> None:
        """Watch these kinds for one app, in place of those it had."""
        fresh = {GroupKind(resource.group, resource.kind): resource for resource in kinds}
        if self._kinds.get(applyset) != fresh:
            self._kinds[applyset] = fresh
            self._changed.set()

    def forget(self, applyset: str) -> None:
        """An app is gone: what only it needed is no longer watched."""
        if self._kinds.pop(applyset, None) is not None:
            self._changed.set()

    def look(self, applyset: str, ref: ObjectRef) -> Live:
        """The object as the cache has it, absent if the cache is whole and has it not, else unknown."""
        resource = self._kinds.get(applyset, {}).get(ref.group_kind)
        if resource is None or not self._whole(applyset, resource):
            return Unseen.UNKNOWN
        items = self._watches[resource].reflector.items
        return items.get((ref.namespace, ref.name)) or Unseen.ABSENT

    async def wait(self, applyset: str, seconds: float) -> None:
        """Until every kind of the app has a whole cache, or the time is over: the rest is read."""
        try:
            async with asyncio.timeout(seconds):
                while not all(self._whole(applyset, kind) for kind in self._kinds.get(applyset, {}).values()):
                    self._synced.clear()
                    await self._synced.wait()
        except TimeoutError:
            logger.info("watch: not every kind was listed in %g s", seconds)

    async def run(self) -> None:
        """Follow what is wanted until cancelled; then stop every watch."""
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(_SETTLE)
                self._changed.clear()
                self._follow()
        finally:
            tasks = [watch.task for watch in self._watches.values()]
            for watch, replacing in self._fresh.values():
                tasks += [watch.task, replacing]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self) -> None:
        wanted: dict[ApiResource, set[str]] = {}
        for applyset, kinds in self._kinds.items():
            for resource in kinds.values():
                wanted.setdefault(resource, set()).add(applyset)
        for resource in [*self._watches, *self._fresh]:
            if resource not in wanted:
                self._stop(resource)
        everybody = self._expected | self._kinds.keys()
        everyone = everybody if len(everybody) <= LISTED else None
        for resource, applysets in wanted.items():
            newest = self._fresh[resource][0] if resource in self._fresh else self._watches.get(resource)
            if newest is None or not _covers(newest, applysets):
                self._start(resource, everyone)

    def _start(self, resource: ApiResource, covered: frozenset[str] | None) -> None:
        reflector = Reflector(
            self._client,
            resource.path(),
            label_selector=_selector(covered),
            transform=lambda obj: self._transform(_typed(obj, resource)),
        )
        reflector.subscribe(lambda old, new: self._tell(resource, old, new))
        self._stop_fresh(resource)
        watch = _Watch(
            covered, reflector, asyncio.create_task(reflector.run(), name=f"watch {resource.plural}")
        )
        replacing = asyncio.create_task(self._replace(resource, watch), name=f"sync {resource.plural}")
        self._fresh[resource] = watch, replacing

    async def _replace(self, resource: ApiResource, fresh: _Watch) -> None:
        """Let `fresh` take over once it has its list; what vanished in between is told."""
        while not fresh.reflector.synced:
            try:
                await fresh.reflector.wait_synced(_SYNC_SECONDS)
            except CacheNotSynced as error:
                logger.warning("watch: %s", error)
        held = self._watches.get(resource)
        self._watches[resource] = fresh
        self._fresh.pop(resource, None)
        if held is not None:
            held.task.cancel()
            for key, old in held.reflector.items.items():
                if key not in fresh.reflector.items:
                    self._tell(resource, old, None)
        self._synced.set()
        self._on_synced(resource)

    def _stop(self, resource: ApiResource) -> None:
        self._stop_fresh(resource)
        watch = self._watches.pop(resource, None)
        if watch is not None:
            watch.task.cancel()

    def _stop_fresh(self, resource: ApiResource) -> None:
        fresh = self._fresh.pop(resource, None)
        if fresh is not None:
            fresh[0].task.cancel()
            fresh[1].cancel()

    def _tell(self, resource: ApiResource, old: Manifest | None, new: Manifest | None) -> None:
        before, after = _owner(old), _owner(new)
        if old is not None and before != after and self._has(before, resource):
            self._on_change(before, ref_of(old), old, None)
        if new is not None and self._has(after, resource):
            self._on_change(after, ref_of(new), old if old is not None and before == after else new, new)

    def _whole(self, applyset: str, resource: ApiResource) -> bool:
        watch = self._watches.get(resource)
        return watch is not None and watch.reflector.synced and _covers(watch, {applyset})

    def _has(self, applyset: str, resource: ApiResource) -> bool:
        return resource in self._kinds.get(applyset, {}).values()


def _covers(watch: _Watch, applysets: set[str]) -> bool:
    return watch.covered is None or applysets <= watch.covered


def _owner(obj: Manifest | None) -> str:
    labels = ((obj or {}).get("metadata") or {}).get("labels") or {}
    return str(labels.get(APPLYSET_PART_OF, ""))


def _typed(obj: Manifest, resource: ApiResource) -> Manifest:
    """Items of built-in lists come without their kind where a server leaves it out."""
    if obj.get("kind") and obj.get("apiVersion"):
        return obj
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}


def _selector(covered: frozenset[str] | None) -> str:
    if covered is None:
        return APPLYSET_PART_OF
    return f"{APPLYSET_PART_OF} in ({','.join(sorted(covered))})"
