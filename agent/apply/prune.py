"""Deleting what an app no longer wants, in reverse order, each level gone before the next.

Every object is read first: only what is still ours, by uid and by label, is deleted, with the uid as
precondition.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.apply.emptiness import foreign_in_namespace, left_of_definition
from agent.apply.failures import explain, kind_missing
from agent.apply.order import deletion_levels
from agent.apply.plan import Fate, Verdict, prune_verdict
from agent.apply.prepare import CRD, NAMESPACE
from agent.apply.result import CONFIRM, Action, ChangeEntry
from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import ANNOTATION_APP, APPLYSET_PART_OF
from agent.kube.discovery import GroupUnavailable, NoMatch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from agent.apply.inventory import Entry
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.kube.client import RestClient
    from agent.kube.discovery import ApiResource, RestMapper

_NOT_FOUND, _CONFLICT = 404, 409
_POLL = (0.05, 0.5)
GRACE = 2.0
"""Seconds that a round waits for deleted objects to be gone; then it ends, and the next one goes on."""


@dataclass(slots=True)
class Pruned:
    """What a pass did. `gone` leaves the inventory; `pending` stays in it and is looked at again."""

    entries: list[ChangeEntry] = field(default_factory=list)
    gone: set[ObjectRef] = field(default_factory=set)
    pending: set[ObjectRef] = field(default_factory=set)
    decided: bool = False


class Pruner:
    def __init__(
        self, client: RestClient, mapper: RestMapper, *, manager: str, applyset: str, concurrency: int
    ) -> None:
        self._client = client
        self._mapper = mapper
        self._manager = manager
        self._applyset = applyset
        self._slots = asyncio.Semaphore(concurrency)

    async def prune(
        self,
        entries: Iterable[Entry],
        *,
        impersonate: str | None,
        deadline: float,
        applied_uids: AbstractSet[str] = frozenset(),
        decided: bool = False,
    ) -> Pruned:
        """Delete level by level; one that is not gone in time keeps those below it for the next pass.

        `decided`: a person has the whole app deleted, and its namespaces and definitions with it.
        """
        result = Pruned(decided=decided)
        levels = deletion_levels(entries, kind=lambda entry: entry.ref.group_kind)
        give_up = min(deadline, asyncio.get_running_loop().time() + GRACE)
        for index, level in enumerate(levels):
            async with asyncio.TaskGroup() as group:
                for entry in level:
                    group.create_task(
                        self._one(
                            entry, result, impersonate=impersonate, applied_uids=applied_uids, give_up=give_up
                        )
                    )
            unfinished = any(entry.ref not in result.gone for entry in level)
            if unfinished or asyncio.get_running_loop().time() >= deadline:
                result.pending.update(entry.ref for later in levels[index + 1 :] for entry in later)
                break
        return result

    async def _one(
        self,
        entry: Entry,
        result: Pruned,
        *,
        impersonate: str | None,
        applied_uids: AbstractSet[str],
        give_up: float,
    ) -> None:
        async with self._slots:
            try:
                change = await self._remove(
                    entry,
                    impersonate=impersonate,
                    applied_uids=applied_uids,
                    give_up=give_up,
                    decided=result.decided,
                )
            except AxletreeError as error:
                failure = explain(error, entry.ref)
                result.entries.append(
                    ChangeEntry(
                        entry.ref,
                        Action.FAILED,
                        failure.reason,
                        failure.message,
                        transient=failure.transient,
                        retry_after=failure.retry_after,
                        uid=entry.uid,
                    )
                )
                return
        if change is None:
            result.pending.add(entry.ref)
        else:
            result.entries.append(change)
            (result.pending if change.reason == CONFIRM else result.gone).add(entry.ref)

    async def _remove(
        self,
        entry: Entry,
        *,
        impersonate: str | None,
        applied_uids: AbstractSet[str],
        give_up: float,
        decided: bool,
    ) -> ChangeEntry | None:
        """One object, from its live state to gone. None while something holds it."""
        found = await self._find(entry)
        if found is None:
            return ChangeEntry(entry.ref, Action.PRUNED, uid=entry.uid)
        path, live = found
        verdict = prune_verdict(
            entry,
            live,
            applyset=self._applyset,
            manager=self._manager,
            applied_uids=applied_uids,
            decided=decided,
        )
        uid = live["metadata"]["uid"]
        if live["metadata"].get("deletionTimestamp") and verdict.fate is not Fate.FORGET:
            return await self._wait(entry, path, uid=uid, give_up=give_up)
        if verdict.fate in {Fate.DELETE, Fate.ASK}:
            verdict = await self._holds(entry, live) or verdict
        if verdict.fate is Fate.WAIT:
            return None
        if verdict.fate is Fate.DELETE:
            return await self._delete(entry, path, uid=uid, impersonate=impersonate, give_up=give_up)
        if verdict.fate is Fate.RELEASE:
            await self._release(path, live, impersonate=impersonate)
        return ChangeEntry(entry.ref, Action.SKIPPED, verdict.reason, verdict.message, uid=uid)

    async def _holds(self, entry: Entry, live: Manifest) -> Verdict | None:
        """What a container still holds: a reason to leave it, or to wait."""
        if entry.ref.group_kind == NAMESPACE:
            foreign = await foreign_in_namespace(self._client, entry.ref.name)
            if foreign:
                return Verdict(Fate.RELEASE, "NamespaceInUse", f"it still holds {foreign}: left")
        elif entry.ref.group_kind == CRD:
            left, going = await left_of_definition(self._client, live)
            if left and not going:
                return Verdict(Fate.RELEASE, "DefinitionInUse", f"there is still {left}: left")
            if left:
                return Verdict(Fate.WAIT, "Waiting", f"{left} is being deleted")
        return None

    async def _delete(
        self, entry: Entry, path: str, *, uid: str, impersonate: str | None, give_up: float
    ) -> ChangeEntry | None:
        try:
            answer = await self._client.delete(path, uid=uid, impersonate=impersonate)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return ChangeEntry(entry.ref, Action.PRUNED, uid=uid)
            if error.status != _CONFLICT:
                raise
            now = await self._read(path)
            if now is None:
                return ChangeEntry(entry.ref, Action.PRUNED, uid=uid)
            if now["metadata"]["uid"] != uid:
                message = "someone made it again: left alone"
                return ChangeEntry(entry.ref, Action.SKIPPED, "Recreated", message, uid=uid)
            raise
        if answer.get("kind") == "Status":
            # The object itself comes back while something holds it.
            return ChangeEntry(entry.ref, Action.PRUNED, uid=uid)
        return await self._wait(entry, path, uid=uid, give_up=give_up)

    async def _wait(self, entry: Entry, path: str, *, uid: str, give_up: float) -> ChangeEntry | None:
        pause, longest = _POLL
        while asyncio.get_running_loop().time() < give_up:
            live = await self._read(path)
            if live is None or live["metadata"]["uid"] != uid:
                return ChangeEntry(entry.ref, Action.PRUNED, uid=uid)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(longest, pause * 2)
        return None

    async def _release(self, path: str, live: Manifest, *, impersonate: str | None) -> None:
        """Take membership off, if it is still the object that was looked at."""
        metadata = live["metadata"]
        patch: Manifest = {
            "metadata": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "labels": {APPLYSET_PART_OF: None},
                "annotations": {ANNOTATION_APP: None},
            }
        }
        await self._client.merge_patch(path, patch, field_manager=self._manager, impersonate=impersonate)

    async def _find(self, entry: Entry) -> tuple[str, Manifest] | None:
        """The object's path and live state; None if it is gone, be it with its kind."""
        for _ in range(2):
            resource = await self._resource(entry)
            if resource is None:
                return None
            if resource.namespaced != bool(entry.ref.namespace):
                return None  # a definition of another scope has come: what was of the former went with that
            path = resource.path(entry.ref.namespace, entry.ref.name)
            try:
                live = await self._client.get(path)
            except ApiError as error:
                if error.status != _NOT_FOUND:
                    raise
                if not kind_missing(error):
                    return None
                self._mapper.forget(entry.ref.group)
            else:
                return path, live
        raise GroupUnavailable(f"{entry.ref.group_kind} is known and not served")

    async def _resource(self, entry: Entry) -> ApiResource | None:
        """Where the kind is served now: in its version, in another, or nowhere (its objects went with it)."""
        group = entry.ref.group
        api_version = f"{group}/{entry.version}" if group else entry.version
        try:
            return await self._mapper.resource(api_version, entry.ref.kind)
        except NoMatch:
            self._mapper.forget(group)
        try:
            return await self._mapper.preferred(group, entry.ref.kind)
        except NoMatch:
            return None

    async def _read(self, path: str) -> Manifest | None:
        # A kind that went away takes its objects along, so that any 404 means gone here.
        try:
            return await self._client.get(path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
