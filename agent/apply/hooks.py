"""Hooks: objects of a bundle that run once for a release instead of being kept applied. Pure.

Ours are asked for by an annotation; Argo CD's and Helm's mean the same, so that charts work as they are.

https://argo-cd.readthedocs.io/en/stable/user-guide/resource_hooks/
https://helm.sh/docs/topics/charts_hooks/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.apply.waves import WAVE, annotations_of, wave_of
from agent.contract.manifest import GroupKind, ref_of
from agent.contract.names import GROUP, short_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.contract.manifest import Manifest, ObjectRef

HOOK = f"{GROUP}/hook"
HOOK_DELETE = f"{GROUP}/hook-delete-policy"
HOOK_RUN = f"{GROUP}/hook-run"
"""On a hook's live object: for which release and phase it was made."""
_ARGO, _ARGO_DELETE = "argocd.argoproj.io/hook", "argocd.argoproj.io/hook-delete-policy"
_HELM, _HELM_DELETE = "helm.sh/hook", "helm.sh/hook-delete-policy"
_LONGEST_PREFIX = 54
"""With the eight characters that follow, a name that a Job may have."""
_WEIGHT = (*WAVE, "helm.sh/hook-weight")
JOB = GroupKind("batch", "Job")
RUNS = frozenset({JOB, GroupKind("", "Pod")})
"""Kinds that run to an end: an earlier run is deleted before the next."""


class Phase(StrEnum):
    PRE_SYNC = "PreSync"
    """Before anything of the release is applied."""
    POST_SYNC = "PostSync"
    """Once everything of it is applied and Healthy."""
    SYNC_FAIL = "SyncFail"
    """When it cannot be applied, or a hook before or after it failed."""
    PRE_DELETE = "PreDelete"
    """Before the app is taken away."""


class Cleanup(StrEnum):
    BEFORE = "BeforeHookCreation"
    SUCCEEDED = "HookSucceeded"
    FAILED = "HookFailed"


_PHASES = {
    **{phase.value: phase for phase in Phase},
    "pre-install": Phase.PRE_SYNC,
    "pre-upgrade": Phase.PRE_SYNC,
    "post-install": Phase.POST_SYNC,
    "post-upgrade": Phase.POST_SYNC,
    "pre-delete": Phase.PRE_DELETE,
}
_MEMBERS = frozenset({"Sync", "crd-install"})
"""Hooks by name, and kept applied like everything else."""
_CLEANUPS = {
    **{cleanup.value: cleanup for cleanup in Cleanup},
    "before-hook-creation": Cleanup.BEFORE,
    "hook-succeeded": Cleanup.SUCCEEDED,
    "hook-failed": Cleanup.FAILED,
}
PHASE_WORDS, CLEANUP_WORDS = frozenset(_PHASES) | _MEMBERS, frozenset(_CLEANUPS)
"""All that the annotations may say, whosever they are."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook; of a weight, all run at the same time."""

    phases: frozenset[Phase]
    weight: int
    cleanup: frozenset[Cleanup]
    manifest: Manifest = field(repr=False)

    @property
    def ref(self) -> ObjectRef:
        return ref_of(self.manifest)


def split(objects: Iterable[Manifest]) -> tuple[list[Manifest], list[Hook]]:
    """What is kept applied, and what runs. Hooks with no phase of ours (tests, rollbacks) are neither.

    Raises `ObjectInvalid` for a weight that is no number.
    """
    members: list[Manifest] = []
    hooks: list[Hook] = []
    for obj in objects:
        named = _words(obj, HOOK, _ARGO, _HELM)
        if named is None or named & _MEMBERS:
            members.append(obj)
            continue
        phases = frozenset(_PHASES[name] for name in named if name in _PHASES)
        if not phases:
            continue
        wanted = _words(obj, HOOK_DELETE, _ARGO_DELETE, _HELM_DELETE) or ()
        cleanup = frozenset(_CLEANUPS[name] for name in wanted if name in _CLEANUPS)
        hooks.append(Hook(phases, wave_of(obj, ref_of(obj), keys=_WEIGHT), cleanup, obj))
    return members, hooks


def named(obj: Manifest) -> Manifest:
    """A hook with a generated name, under one that stays: so that it runs once for a release, and leaves one run.

    Argo CD lets hooks have `generateName`, and makes another object each time. All else comes back as it is.
    """
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") or not metadata.get("generateName"):
        return obj
    if not (found := _words(obj, HOOK, _ARGO, _HELM)) or found & _MEMBERS:
        return obj
    prefix = str(metadata["generateName"])[:_LONGEST_PREFIX]
    about = f"{ref_of(obj).group_kind}|{metadata.get('namespace', '')}|{metadata['generateName']}"
    fixed = {key: value for key, value in metadata.items() if key != "generateName"}
    return {**obj, "metadata": {**fixed, "name": f"{prefix}{short_hash(about, 8)}"}}


def groups(hooks: Sequence[Hook], phase: Phase) -> list[list[Hook]]:
    """A phase's hooks by weight, lowest first."""
    by_weight: dict[int, list[Hook]] = {}
    for hook in hooks:
        if phase in hook.phases:
            by_weight.setdefault(hook.weight, []).append(hook)
    return [by_weight[weight] for weight in sorted(by_weight)]


def under_way(live: Manifest) -> bool:
    """Whether an earlier run does work: it is not cut off then. One that never started is no reason to wait."""
    status = live.get("status")
    if not isinstance(status, dict):
        return False
    if live.get("kind") == "Pod":
        return status.get("phase") == "Running"
    return bool(status.get("active")) and bool(status.get("ready"))


def _words(obj: Manifest, *keys: str) -> set[str] | None:
    """The comma-separated words of the first of these annotations that is there."""
    found = annotations_of(obj)
    for key in keys:
        if key in found:
            return {word.strip() for word in str(found[key]).split(",") if word.strip()}
    return None
