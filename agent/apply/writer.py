"""One object to the API server: read if unsure, write if needed, remember what came of it.

The cost is what matters here: an unchanged object costs nothing, a changed one a single request. Whether an
apply changed anything shows in the resourceVersion that it returns, so that no dry run goes before it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from agent.apply.diff import changes
from agent.apply.failures import IMMUTABLE, explain, kind_missing
from agent.apply.fields import differences, last_write, own_fields, suspects
from agent.apply.ignore import effective, needs_managers
from agent.apply.memories import Memories
from agent.apply.options import CONFIRM_RECREATE
from agent.apply.plan import Step, Unseen, plan_object
from agent.apply.recreate import ask
from agent.apply.remote import Remote
from agent.apply.residue import removed_fields, residue, stays
from agent.apply.result import COMPLETED, Action, ChangeEntry, Drift
from agent.apply.takeover import needs_takeover
from agent.contract.errors import ApiError, AxletreeError, TransientError
from agent.kube.discovery import NoMatch

if TYPE_CHECKING:
    from agent.apply.fields import FieldSet
    from agent.apply.inventory import Entry
    from agent.apply.plan import Live
    from agent.apply.prepare import Desired
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

_POLL = 0.05
_RECREATE_SECONDS = 2.0
"""How long a round waits for an object that it deleted to make it again."""


class Writer:
    """Applies single objects of one app. Failures come back as entries; only cancellation escapes."""

    def __init__(self, client: RestClient, mapper: RestMapper, *, manager: str) -> None:
        self._mapper = mapper
        self._manager = manager
        self._remote = Remote(client, mapper, manager=manager)
        self.memories = Memories(manager)

    async def settle(
        self,
        desired: Desired,
        *,
        live: Live,
        entry: Entry | None,
        impersonate: str | None,
        deadline: float,
        patience: float = 0.0,
    ) -> ChangeEntry:
        """Bring one object to its desired state. `patience`: seconds to wait for a kind just defined."""
        give_up = min(deadline, asyncio.get_running_loop().time() + patience)
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    try:
                        return await self._settle(desired, live=live, entry=entry, impersonate=impersonate)
                    except (NoMatch, ApiError) as error:
                        if isinstance(error, ApiError) and not kind_missing(error):
                            raise
                        self._mapper.forget(desired.ref.group)
                        if asyncio.get_running_loop().time() >= give_up:
                            raise
                    await asyncio.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        except AxletreeError as error:
            return self._failed(desired, error, live)
        except TimeoutError:
            late = TransientError("the round's time was over", reason="DeadlineExceeded")
            return self._failed(desired, late, live)

    async def check(
        self, desired: Desired, *, live: Live, entry: Entry | None, impersonate: str | None
    ) -> Drift | None:
        """Whether live differs on fields of the bundle; a dry run only where values alone cannot say."""
        self.memories.recall(desired.ref, entry)
        step, live, desired = await self._decide(desired, live=live, entry=entry)
        if live is Unseen.UNKNOWN:
            step, live, desired = await self._decide(
                desired, live=await self._remote.read(desired), entry=entry
            )
        if step in {Step.KEEP, Step.DONE}:
            self.memories.keep(desired, live)
            return self._stayed(desired.ref, live)
        if not isinstance(live, dict) or step is Step.WAIT:
            return Drift(desired.ref, missing=True)
        try:
            proposed = await self._remote.apply(desired, impersonate=impersonate, dry_run=True)
        except ApiError as error:
            if error.transient:
                raise
            paths = suspects(desired.manifest, live, self._manager)
            manager, at = last_write(live, self._manager)
            return Drift(desired.ref, paths, manager=manager, at=at)
        fields = own_fields(proposed, self._manager) or {}
        # What the bundle does not set may differ as well: our copy may be older than what the dry run saw.
        paths = differences(live, proposed, fields)
        if paths:
            self.memories.compared(desired.ref, fields)
            told = changes(desired.ref, wanted=proposed, live=live, fields=fields)
            manager, at = last_write(live, self._manager)
            return Drift(desired.ref, paths, manager=manager, at=at, changes=told)
        self.memories.keep(desired, live, fields)
        self.memories.judge(desired, proposed)
        return self._stayed(desired.ref, live)

    def _stayed(self, ref: ObjectRef, live: Live) -> Drift | None:
        """What is there of fields that left the bundle: nobody changed it, and it differs all the same."""
        stayed = self.memories.residue_of(ref, live)
        return Drift(ref, tuple(each.path for each in stayed), changes=stayed) if stayed else None

    async def _settle(
        self, desired: Desired, *, live: Live, entry: Entry | None, impersonate: str | None
    ) -> ChangeEntry:
        self.memories.recall(desired.ref, entry)
        step, live, desired = await self._decide(desired, live=live, entry=entry)
        match step:
            case Step.KEEP:
                self.memories.keep(desired, live)
                residue = self.memories.residue_of(desired.ref, live)
                return replace(_entry(desired.ref, Action.UNCHANGED, live), residue=residue)
            case Step.DONE:
                return ChangeEntry(
                    desired.ref,
                    Action.SKIPPED,
                    COMPLETED,
                    "it completed, and is gone by its TTL",
                    uid=_uid(entry),
                )
            case Step.WAIT:
                message = "it is being deleted: applied once it is gone"
                failed = _entry(desired.ref, Action.FAILED, live)
                return replace(failed, reason="Terminating", message=message, transient=True)
            case Step.WRITE | Step.READ:
                try:
                    return await self._write(desired, live=live, impersonate=impersonate)
                except ApiError as error:
                    if not desired.options.recreate or explain(error, desired.ref).reason != IMMUTABLE:
                        raise
                    return await self._recreate(desired, error, impersonate=impersonate)
            case _:
                assert_never(step)

    async def _decide(
        self, desired: Desired, *, live: Live, entry: Entry | None
    ) -> tuple[Step, Live, Desired]:
        """The step, the live state that it was decided on, and what to send then; never `READ`."""
        memory = self.memories.get(desired.ref)
        ignored = desired.options.ignored
        partial = isinstance(live, dict) and needs_managers(live, self._manager, ignored)
        wanted = self._effective(desired, live)
        step = plan_object(wanted, live=live, memory=memory, entry=entry, manager=self._manager)
        if step is not Step.READ and not (partial and step is Step.WRITE):
            return step, live, wanted
        live = await self._remote.read(desired)
        if live is Unseen.ABSENT:
            self.memories.forget(desired.ref)
            memory = None
        wanted = self._effective(desired, live)
        return plan_object(wanted, live=live, memory=memory, entry=entry, manager=self._manager), live, wanted

    def _effective(self, desired: Desired, live: Live) -> Desired:
        """With what is ignored left as it is. The digest stays that of the bundle's own words."""
        ignored = desired.options.ignored
        if not ignored or not isinstance(live, dict):
            return desired
        return replace(desired, manifest=effective(desired.manifest, live, self._manager, ignored))

    async def _write(self, desired: Desired, *, live: Live, impersonate: str | None) -> ChangeEntry:
        version = _version(live)
        refused = self.memories.refused(desired, version)
        if refused is not None:
            return refused
        before = self.memories.get(desired.ref)
        if desired.options.replace and isinstance(live, dict):
            await self._remote.replace(desired, live, impersonate=impersonate)
        result = await self._remote.apply(desired, impersonate=impersonate)
        created = _made_now(result, self._manager)
        if needs_takeover(result):
            result = await self._remote.take_over(desired, result, impersonate=impersonate)
        residue = await self._residue(desired, live, result, impersonate=impersonate)
        self.memories.applied(desired, result, residue)
        stayed = self.memories.residue_of(desired.ref, result)
        known = {version} if version else set()
        if before is not None and before.uid == result["metadata"]["uid"]:
            known.add(before.resource_version)
        if known:
            same = result["metadata"]["resourceVersion"] in known
            done = _entry(desired.ref, Action.UNCHANGED if same else Action.CONFIGURED, result)
            return replace(done, residue=stayed)
        return _entry(desired.ref, Action.CREATED if created else Action.CONFIGURED, result)

    async def _recreate(self, desired: Desired, error: ApiError, *, impersonate: str | None) -> ChangeEntry:
        """Delete what cannot be changed, where the bundle asks for that, and make it again once it is gone."""
        live = await self._remote.read(desired)
        if isinstance(live, dict):
            if own_fields(live, self._manager) is None:
                raise error  # not ours so far: nobody asked to delete that
            await ask(self._remote, desired, live, impersonate=impersonate)
            uid = live["metadata"]["uid"]
            await self._remote.delete(desired, uid, impersonate=impersonate)
            give_up = asyncio.get_running_loop().time() + _RECREATE_SECONDS
            while isinstance(live, dict) and live["metadata"]["uid"] == uid:
                if asyncio.get_running_loop().time() >= give_up:
                    message = "it is deleted to be made again: applied once it is gone"
                    failed = _entry(desired.ref, Action.FAILED, live)
                    return replace(failed, reason="Terminating", message=message, transient=True)
                await asyncio.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                live = await self._remote.read(desired)
        self.memories.forget(desired.ref)
        return await self._write(desired, live=live, impersonate=impersonate)

    async def _residue(
        self, desired: Desired, live: Live, result: Manifest, *, impersonate: str | None
    ) -> FieldSet | None:
        """What the API server kept of fields that left the bundle; None where this apply tells nothing of that.

        A dry run tells, only where something may.
        """
        memory, uid = self.memories.get(desired.ref), result["metadata"]["uid"]
        if isinstance(live, dict):
            before = own_fields(live, self._manager) if live["metadata"]["uid"] == uid else None
        else:
            before = memory.fields if memory is not None and memory.uid == uid else None
        removed = removed_fields(before, result, self._manager)
        if not stays(removed, result):
            return None
        try:
            fresh = await self._remote.as_new(desired, impersonate=impersonate)
        except AxletreeError:
            return None  # nobody can say: no reason to fail what was applied
        return residue(removed, after=result, fresh=fresh)

    def _failed(self, desired: Desired, error: AxletreeError, live: Live) -> ChangeEntry:
        failure = explain(error, desired.ref)
        hint = ""
        if failure.reason == IMMUTABLE and desired.options.unconfirmed:
            hint = f" To delete it and make it again, annotate it with {CONFIRM_RECREATE}: {desired.ref.name}"
        entry = ChangeEntry(
            desired.ref,
            Action.FAILED,
            failure.reason,
            failure.message + hint,
            transient=failure.transient,
            retry_after=failure.retry_after,
            uid=live["metadata"]["uid"] if isinstance(live, dict) else "",
            resource_version=_version(live),
            live=live if isinstance(live, dict) else None,
        )
        if failure.reason == IMMUTABLE:
            self.memories.refuse(desired, entry)
        return entry


def _entry(ref: ObjectRef, action: Action, live: Live) -> ChangeEntry:
    if not isinstance(live, dict):
        return ChangeEntry(ref, action)
    metadata = live["metadata"]
    return ChangeEntry(
        ref, action, uid=metadata["uid"], resource_version=metadata["resourceVersion"], live=live
    )


def _version(live: Live) -> str:
    return str(live["metadata"]["resourceVersion"]) if isinstance(live, dict) else ""


def _uid(entry: Entry | None) -> str:
    return entry.uid if entry is not None else ""


def _made_now(live: Manifest, manager: str) -> bool:
    """Whether our apply made it. The answer does not say, but an earlier maker has fields of its own."""
    return all(
        entry.get("manager") == manager and entry.get("operation") == "Apply"
        for entry in live["metadata"].get("managedFields") or ()
    )
