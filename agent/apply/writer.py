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
from agent.apply.fields import FieldSet, differences, last_write, own_fields, suspects
from agent.apply.ignore import effective, needs_managers
from agent.apply.options import CONFIRM_RECREATE
from agent.apply.plan import Memory, Step, Unseen, older_or_same, plan_object
from agent.apply.result import COMPLETED, Action, ChangeEntry, Drift
from agent.apply.takeover import needs_takeover, takeover_patch
from agent.contract.errors import ApiError, AxletreeError, TransientError
from agent.kube.discovery import NoMatch

if TYPE_CHECKING:
    from agent.apply.inventory import Entry
    from agent.apply.plan import Live
    from agent.apply.prepare import Desired
    from agent.contract.manifest import Manifest, ObjectRef
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

_NOT_FOUND, _CONFLICT, _INVALID = 404, 409, 422
_TAKEOVER_TRIES = 3
_POLL = 0.05
_RECREATE_SECONDS = 2.0
"""How long a round waits for an object that it deleted to make it again."""


class TakeoverConflict(TransientError):
    """Somebody writes the object faster than it can be taken over from kubectl."""

    reason = "TakeoverConflict"


class Writer:
    """Applies single objects of one app. Failures come back as entries; only cancellation escapes."""

    def __init__(self, client: RestClient, mapper: RestMapper, *, manager: str) -> None:
        self._client = client
        self._mapper = mapper
        self._manager = manager
        self._memory: dict[ObjectRef, Memory] = {}
        self._fields: dict[ObjectRef, FieldSet] = {}
        self._refused: dict[ObjectRef, tuple[str, str, ChangeEntry]] = {}
        """Immutable fields: (digest, live version, verdict). Until one of both changes, nobody asks again."""

    def digest_of(self, ref: ObjectRef) -> str:
        """The content last seen to be live, empty if that is not known."""
        memory = self._memory.get(ref)
        return memory.digest if memory is not None else ""

    def fields_of(self, ref: ObjectRef) -> FieldSet | None:
        """What the bundle sets in that object, though somebody else may own a part of it by now.

        The API server said so when it was last applied or compared; None before.
        """
        return self._fields.get(ref)

    def share(self, ref: ObjectRef, live: Manifest) -> None:
        """Use the field set of a cached object instead of an equal one: they are large."""
        fields = own_fields(live, self._manager)
        if fields is not None and self._fields.get(ref) == fields:
            self._fields[ref] = fields
            memory = self._memory.get(ref)
            if memory is not None and memory.fields == fields:
                self._memory[ref] = replace(memory, fields=fields)

    def forget(self, ref: ObjectRef) -> None:
        self._memory.pop(ref, None)
        self._fields.pop(ref, None)
        self._refused.pop(ref, None)

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
        step, live, desired = await self._decide(desired, live=live, entry=entry)
        if live is Unseen.UNKNOWN:
            step, live, desired = await self._decide(desired, live=await self._read(desired), entry=entry)
        if step in {Step.KEEP, Step.DONE}:
            self._keep(desired, live)
            return None
        if not isinstance(live, dict) or step is Step.WAIT:
            return Drift(desired.ref, missing=True)
        try:
            proposed = await self._apply(desired, impersonate=impersonate, dry_run=True)
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
            self._fields[desired.ref] = fields
            told = changes(desired.ref, wanted=proposed, live=live, fields=fields)
            manager, at = last_write(live, self._manager)
            return Drift(desired.ref, paths, manager=manager, at=at, changes=told)
        self._keep(desired, live, fields)
        return None

    async def _settle(
        self, desired: Desired, *, live: Live, entry: Entry | None, impersonate: str | None
    ) -> ChangeEntry:
        step, live, desired = await self._decide(desired, live=live, entry=entry)
        match step:
            case Step.KEEP:
                self._keep(desired, live)
                return _entry(desired.ref, Action.UNCHANGED, live)
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
        memory = self._memory.get(desired.ref)
        ignored = desired.options.ignored
        partial = isinstance(live, dict) and needs_managers(live, self._manager, ignored)
        wanted = self._effective(desired, live)
        step = plan_object(wanted, live=live, memory=memory, entry=entry, manager=self._manager)
        if step is not Step.READ and not (partial and step is Step.WRITE):
            return step, live, wanted
        live = await self._read(desired)
        if live is Unseen.ABSENT:
            self.forget(desired.ref)
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
        refused = self._refused.get(desired.ref)
        if (
            refused is not None
            and not desired.options.recreate
            and version
            and refused[:2] == (desired.digest, version)
        ):
            return refused[2]
        before = self._memory.get(desired.ref)
        if desired.options.replace and isinstance(live, dict):
            await self._replace(desired, live, impersonate=impersonate)
        result = await self._apply(desired, impersonate=impersonate)
        created = _made_now(result, self._manager)
        if needs_takeover(result):
            result = await self._take_over(desired, result, impersonate=impersonate)
        self._refused.pop(desired.ref, None)
        memory = self._memory[desired.ref] = Memory.of(desired.digest, result, self._manager)
        self._fields[desired.ref] = memory.fields or {}
        known = {version} if version else set()
        if before is not None and before.uid == result["metadata"]["uid"]:
            known.add(before.resource_version)
        if known:
            same = result["metadata"]["resourceVersion"] in known
            return _entry(desired.ref, Action.UNCHANGED if same else Action.CONFIGURED, result)
        return _entry(desired.ref, Action.CREATED if created else Action.CONFIGURED, result)

    async def _replace(self, desired: Desired, live: Manifest, *, impersonate: str | None) -> None:
        """The whole object, as the bundle has it: the apply after this makes its fields ours."""
        metadata = {**desired.manifest["metadata"], "resourceVersion": _version(live)}
        body = {**desired.manifest, "metadata": metadata}
        await self._client.replace(
            await self._path(desired), body, field_manager=self._manager, impersonate=impersonate
        )

    async def _recreate(self, desired: Desired, error: ApiError, *, impersonate: str | None) -> ChangeEntry:
        """Delete what cannot be changed, where the bundle asks for that, and make it again once it is gone."""
        live = await self._read(desired)
        if isinstance(live, dict):
            if own_fields(live, self._manager) is None:
                raise error  # not ours so far: nobody asked to delete that
            uid = live["metadata"]["uid"]
            await self._delete(desired, uid, impersonate=impersonate)
            give_up = asyncio.get_running_loop().time() + _RECREATE_SECONDS
            while isinstance(live, dict) and live["metadata"]["uid"] == uid:
                if asyncio.get_running_loop().time() >= give_up:
                    message = "it is deleted to be made again: applied once it is gone"
                    failed = _entry(desired.ref, Action.FAILED, live)
                    return replace(failed, reason="Terminating", message=message, transient=True)
                await asyncio.sleep(_POLL * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                live = await self._read(desired)
        self.forget(desired.ref)
        return await self._write(desired, live=live, impersonate=impersonate)

    async def _delete(self, desired: Desired, uid: str, *, impersonate: str | None) -> None:
        try:
            await self._client.delete(await self._path(desired), uid=uid, impersonate=impersonate)
        except ApiError as error:
            if error.status not in {_NOT_FOUND, _CONFLICT}:
                raise

    async def _take_over(self, desired: Desired, live: Manifest, *, impersonate: str | None) -> Manifest:
        path = await self._path(desired)
        for _ in range(_TAKEOVER_TRIES):
            try:
                await self._client.json_patch(
                    path,
                    takeover_patch(live, self._manager),
                    field_manager=self._manager,
                    impersonate=impersonate,
                )
            except ApiError as error:
                if error.status not in {_CONFLICT, _INVALID}:
                    raise
            live = await self._apply(desired, impersonate=impersonate)
            if not needs_takeover(live):
                return live
        raise TakeoverConflict(f"{desired.ref} changes too often to be taken over from kubectl")

    async def _apply(self, desired: Desired, *, impersonate: str | None, dry_run: bool = False) -> Manifest:
        """Server-side apply. Forced: what the bundle says belongs to Git, whoever else wrote it."""
        return await self._client.apply(
            await self._path(desired),
            desired.manifest,
            field_manager=self._manager,
            force=True,
            dry_run=dry_run,
            impersonate=impersonate,
        )

    async def _read(self, desired: Desired) -> Live:
        try:
            return await self._client.get(await self._path(desired))
        except ApiError as error:
            if error.status == _NOT_FOUND and not kind_missing(error):
                return Unseen.ABSENT
            raise

    async def _path(self, desired: Desired) -> str:
        resource = await self._mapper.resource(desired.api_version, desired.ref.kind)
        return resource.path(desired.ref.namespace, desired.ref.name)

    def _keep(self, desired: Desired, live: Live, fields: FieldSet | None = None) -> None:
        """Remember a state that is as wanted; never an older one than is remembered.

        `fields`: what the bundle sets in it; without it, what is known or, since it is as wanted, what we own.
        """
        if not isinstance(live, dict):
            return
        ref, memory, metadata = desired.ref, self._memory.get(desired.ref), live["metadata"]
        known = memory is not None and memory.digest == desired.digest and not desired.options.ignored
        if fields is None and known:
            fields = self._fields.get(ref)
        if fields is None:
            fields = own_fields(live, self._manager) or {}
        self._fields[ref] = fields
        if (
            memory is None
            or memory.digest != desired.digest
            or memory.uid != metadata["uid"]
            or not older_or_same(metadata["resourceVersion"], memory.resource_version)
        ):
            self._memory[ref] = Memory.of(desired.digest, live, self._manager, fields)

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
        if failure.reason == IMMUTABLE and entry.resource_version:
            self._refused[desired.ref] = (desired.digest, entry.resource_version, entry)
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
