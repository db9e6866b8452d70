"""Which options hold for one object: its app's, and those of its own annotations. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.apply.ignore import Ignored
from agent.apply.waves import annotations_of
from agent.contract.manifest import GroupKind
from agent.contract.names import GROUP
from agent.contract.options import IgnoreDifference, SyncOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.bundle import ApplyPolicy
    from agent.contract.manifest import Manifest, ObjectRef

SYNC_OPTIONS = f"{GROUP}/sync-options"
CONFIRM_RECREATE = f"{GROUP}/confirm-recreate"
"""On an object that holds data: the second yes to deleting and making it again; the value is the object's name."""
_ARGO = "argocd.argoproj.io/sync-options"
HOLDS_DATA = frozenset(
    {
        GroupKind("apps", "StatefulSet"),
        GroupKind("", "PersistentVolumeClaim"),
        GroupKind("", "PersistentVolume"),
        GroupKind("", "Namespace"),
        GroupKind("apiextensions.k8s.io", "CustomResourceDefinition"),
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    replace: bool = False
    recreate: bool = False
    if_not_present: bool = False
    fail_on_conflict: bool = False
    unconfirmed: bool = False
    """Recreate is asked for, and not a second time, which this kind needs."""
    ignored: Ignored = field(default_factory=Ignored)

    @property
    def reads(self) -> bool:
        """Whether what is sent depends on what is live."""
        return self.if_not_present or self.replace or bool(self.ignored)


DEFAULT = Options()


def options_of(obj: Manifest, ref: ObjectRef, policy: ApplyPolicy) -> Options:
    """The app's options and the object's own. Raises `ObjectInvalid` for a path that does not read."""
    wanted = {*(policy.options or ()), *_own(obj)}
    rules = [rule for rule in policy.ignore_differences or () if _means(rule, ref)]
    if not wanted and not rules:
        return DEFAULT
    asked = SyncOption.RECREATE in wanted
    twice = ref.group_kind in HOLDS_DATA
    recreate = asked and (not twice or str(annotations_of(obj).get(CONFIRM_RECREATE)) == ref.name)
    return Options(
        replace=SyncOption.REPLACE in wanted,
        recreate=recreate,
        unconfirmed=asked and not recreate,
        if_not_present=SyncOption.IF_NOT_PRESENT in wanted,
        fail_on_conflict=SyncOption.FAIL_ON_CONFLICT in wanted,
        ignored=_ignored(rules),
    )


def _ignored(rules: Sequence[IgnoreDifference]) -> Ignored:
    return Ignored.of(
        pointers=[path for rule in rules for path in rule.json_pointers],
        paths=[path for rule in rules for path in rule.json_paths],
        managers=[name for rule in rules for name in rule.managers],
    )


def _own(obj: Manifest) -> set[SyncOption]:
    """Of its annotation, or of Argo CD's: `Replace=true`, and with `Force=true` it is recreated."""
    found = annotations_of(obj)
    if SYNC_OPTIONS in found:
        names = {option.value: option for option in SyncOption}
        words = (word.strip() for word in str(found[SYNC_OPTIONS]).split(","))
        return {names[word] for word in words if word in names}
    if _ARGO not in found:
        return set()
    theirs = {word.strip() for word in str(found[_ARGO]).split(",")}
    options = {SyncOption.REPLACE} if "Replace=true" in theirs else set()
    if "Force=true" in theirs:
        options.add(SyncOption.RECREATE)
    if "CreateOnly=true" in theirs:
        options.add(SyncOption.IF_NOT_PRESENT)
    return options


def _means(rule: IgnoreDifference, ref: ObjectRef) -> bool:
    from fnmatch import fnmatchcase  # noqa: PLC0415 - most agents never need it

    pairs = (
        (ref.group, rule.group),
        (ref.kind, rule.kind),
        (ref.namespace, rule.namespace),
        (ref.name, rule.name),
    )
    return all(fnmatchcase(value, glob) for value, glob in pairs)
