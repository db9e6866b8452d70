"""Runs hooks on a cluster: each once for a release, whatever restarts meanwhile.

A live run carries the release that it is for, so that a killed agent finds it again; what ended is recorded before
anything follows from it, and a Job's own time to live is left out, so that it cannot vanish before that. An object
that is not ours is never deleted in a hook's way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from agent.apply.causes import job_waits_for
from agent.apply.errors import HookConflict, ObjectInvalid
from agent.apply.failures import kind_missing
from agent.apply.hooks import HOOK_RUN, JOB, RUNS, Cleanup, Hook, Phase, groups, under_way
from agent.contract.errors import ApiError
from agent.contract.health import HealthState
from agent.contract.manifest import ObjectRef
from agent.contract.names import ANNOTATION_APP
from agent.health.evaluate import evaluate
from agent.kube.discovery import NoMatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper

Ledger: TypeAlias = "tuple[str, ...]"
"""Which hooks of the release ended: `PreSync Job.batch shop/migrate Succeeded`."""
Record: TypeAlias = "Callable[[Ledger], Awaitable[None]]"

_NOT_FOUND, _CONFLICT = 404, 409


CLEANED = "Cleaned"
"""In the ledger, after a phase's name: what its hooks are to leave behind no longer is deleted."""


class Ended(StrEnum):
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a phase is: over, with `failed` naming the hook that failed, or `waiting` for one."""

    waiting: str = ""
    failed: str = ""


class HookRunner:
    """The hooks of one app. `run` looks once and returns: call again while it is `waiting`."""

    def __init__(self, client: RestClient, mapper: RestMapper, *, manager: str, app: str) -> None:
        self._client = client
        self._mapper = mapper
        self._manager = manager
        self._app = app

    async def run(
        self,
        phase: Phase,
        hooks: Sequence[Hook],
        *,
        release: str,
        namespace: str,
        ledger: Ledger,
        record: Record,
        impersonate: str | None,
    ) -> Progress:
        """One look at a phase: begin what may begin, record what ended. Raises what the API server refuses.

        What hooks leave is deleted when the phase is over, as Helm and Argo CD do: an account or a map that a hook
        brings "succeeds" at once, and the Jobs after it run with it.
        """
        mark = f"{release} {phase}"
        progress, ledger = await self._through(
            phase, hooks, mark, namespace=namespace, ledger=ledger, record=record, impersonate=impersonate
        )
        if not progress.waiting and f"{phase} {CLEANED}" not in ledger:
            for hook in hooks:
                if phase in hook.phases:
                    ref = await self._scoped(hook, namespace)
                    await self._clean(hook, ref, mark, ledger, impersonate=impersonate)
            await record((*ledger, f"{phase} {CLEANED}"))
        return progress

    async def _through(
        self,
        phase: Phase,
        hooks: Sequence[Hook],
        mark: str,
        *,
        namespace: str,
        ledger: Ledger,
        record: Record,
        impersonate: str | None,
    ) -> tuple[Progress, Ledger]:
        for group in groups(hooks, phase):
            waiting: list[str] = []
            for hook in group:
                ref = await self._scoped(hook, namespace)
                key = f"{phase} {ref}"
                if f"{key} {Ended.FAILED}" in ledger:
                    return Progress(failed=f"{key} failed in this release"), ledger
                if f"{key} {Ended.SUCCEEDED}" in ledger:
                    continue
                ended, message = await self._look(hook, ref, mark, impersonate=impersonate)
                if ended is None:
                    waiting.append(f"{key}: {message}")
                    continue
                ledger = (*ledger, f"{key} {ended}")
                await record(ledger)
                if ended is Ended.FAILED:
                    return Progress(failed=f"{key}: {message}"), ledger
            if waiting:
                return Progress(waiting="; ".join(waiting)), ledger
        return Progress(), ledger

    async def remove(self, hooks: Sequence[Hook], *, namespace: str, impersonate: str | None) -> bool:
        """Take what hooks left behind away with their app; gives whether it is all gone."""
        left = False
        for hook in hooks:
            ref = await self._scoped(hook, namespace)
            live = await self._read(hook, ref)
            if live is not None and self._ours(live):
                await self._delete(hook, ref, live, impersonate=impersonate)
                left = True
        return not left

    async def _look(
        self, hook: Hook, ref: ObjectRef, mark: str, *, impersonate: str | None
    ) -> tuple[Ended | None, str]:
        """How one hook is; it is begun where nothing is in its way."""
        live = await self._read(hook, ref)
        if live is not None and _annotation(live, HOOK_RUN) != mark:
            if ref.group_kind in RUNS:
                return None, await self._clear(hook, ref, live, impersonate=impersonate)
            live = await self._write(hook, ref, mark, impersonate=impersonate)
        if live is None:
            live = await self._write(hook, ref, mark, impersonate=impersonate)
        result = evaluate(live)
        if result.state is HealthState.HEALTHY:
            return Ended.SUCCEEDED, ""
        if result.state is HealthState.DEGRADED and not live["metadata"].get("deletionTimestamp"):
            return Ended.FAILED, result.message
        why = await job_waits_for(self._client, live) if ref.group_kind == JOB else ""
        return None, f"{result.message}: {why}" if why else result.message

    async def _clear(self, hook: Hook, ref: ObjectRef, live: Manifest, *, impersonate: str | None) -> str:
        """Make room for a new run; gives what is waited for. Raises `HookConflict` for what is not ours."""
        if not self._ours(live):
            raise HookConflict(f"{ref} is there and was not made by this app: delete it, or rename the hook")
        finalizers = live["metadata"].get("finalizers") or ()
        if live["metadata"].get("deletionTimestamp"):
            return f"its earlier run is being deleted, and waits for {', '.join(finalizers) or 'its Pods'}"
        if under_way(live):
            return "its earlier run is still under way"
        await self._delete(hook, ref, live, impersonate=impersonate)
        return "its earlier run is being deleted"

    async def _clean(
        self, hook: Hook, ref: ObjectRef, mark: str, ledger: Ledger, *, impersonate: str | None
    ) -> None:
        """Delete this phase's run of a hook that ended as its policy names."""
        ends = {Ended.SUCCEEDED: Cleanup.SUCCEEDED, Ended.FAILED: Cleanup.FAILED}
        phase = mark.rpartition(" ")[2]
        if not any(
            f"{phase} {ref} {ended}" in ledger and wish in hook.cleanup for ended, wish in ends.items()
        ):
            return
        live = await self._read(hook, ref)
        if live is not None and self._ours(live) and _annotation(live, HOOK_RUN) == mark:
            await self._delete(hook, ref, live, impersonate=impersonate)

    async def _write(self, hook: Hook, ref: ObjectRef, mark: str, *, impersonate: str | None) -> Manifest:
        """Jobs and Pods are created, which only one agent can; the rest is applied."""
        obj = self._prepared(hook.manifest, ref, mark)
        resource = await self._mapper.resource(obj["apiVersion"], ref.kind)
        if ref.group_kind not in RUNS:
            path = resource.path(ref.namespace, ref.name)
            return await self._client.apply(
                path, obj, field_manager=self._manager, force=True, impersonate=impersonate
            )
        collection = resource.path(ref.namespace)
        try:
            return await self._client.create(
                collection, obj, field_manager=self._manager, impersonate=impersonate
            )
        except ApiError as error:
            live = await self._read(hook, ref) if error.status == _CONFLICT else None
            if live is None or _annotation(live, HOOK_RUN) != mark:
                raise
            return live

    def _prepared(self, obj: Manifest, ref: ObjectRef, mark: str) -> Manifest:
        metadata = obj.get("metadata") or {}
        annotations = {**(metadata.get("annotations") or {}), ANNOTATION_APP: self._app, HOOK_RUN: mark}
        made = {**obj, "metadata": {**metadata, "annotations": annotations}}
        if ref.namespace:
            made["metadata"]["namespace"] = ref.namespace
        if ref.group_kind in RUNS and isinstance(obj.get("spec"), dict):
            made["spec"] = {k: v for k, v in obj["spec"].items() if k != "ttlSecondsAfterFinished"}
        return made

    async def _read(self, hook: Hook, ref: ObjectRef) -> Manifest | None:
        resource = await self._mapper.resource(hook.manifest["apiVersion"], ref.kind)
        try:
            return await self._client.get(resource.path(ref.namespace, ref.name))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            if kind_missing(error):
                raise NoMatch(f"there is no kind {ref.group_kind} (yet)") from error
            return None

    async def _delete(self, hook: Hook, ref: ObjectRef, live: Manifest, *, impersonate: str | None) -> None:
        resource = await self._mapper.resource(hook.manifest["apiVersion"], ref.kind)
        path, uid = resource.path(ref.namespace, ref.name), live["metadata"]["uid"]
        try:
            await self._client.delete(path, uid=uid, impersonate=impersonate)
        except ApiError as error:
            if error.status not in {_NOT_FOUND, _CONFLICT}:
                raise

    async def _scoped(self, hook: Hook, namespace: str) -> ObjectRef:
        """The reference that the hook has on this cluster; the app's namespace is the default."""
        ref = hook.ref
        if not ref.name:
            raise ObjectInvalid(f"{ref.group_kind}: a hook needs a name; generateName would run it again")
        resource = await self._mapper.resource(hook.manifest["apiVersion"], ref.kind)
        where = (ref.namespace or namespace) if resource.namespaced else ""
        return ObjectRef(ref.group, ref.kind, where, ref.name)

    def _ours(self, live: Manifest) -> bool:
        return _annotation(live, ANNOTATION_APP) == self._app and bool(_annotation(live, HOOK_RUN))


def _annotation(obj: Manifest, key: str) -> str:
    return str(((obj.get("metadata") or {}).get("annotations") or {}).get(key, ""))
