"""What to do about each object, decided from values alone: pure.

The executor only carries out what stands here, so that `plan(apply(plan)) == nothing` can be tested without a
cluster, and so that every reason for leaving something alone is in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

from agent.apply.fields import fingerprint, own_fields, owns_label, suspects
from agent.apply.prepare import JOB, kept
from agent.apply.result import CONFIRM
from agent.apply.waves import annotations_of
from agent.contract.manifest import GroupKind, Manifest, ObjectRef, as_number
from agent.contract.names import AGENT_NAMESPACE, APPLYSET_PART_OF, GROUP

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.apply.fields import FieldSet
    from agent.apply.inventory import Entry
    from agent.apply.prepare import Desired


class Unseen(Enum):
    """What is known of an object of which no state is at hand."""

    ABSENT = "Absent"
    """A complete view has no such object."""
    UNKNOWN = "Unknown"
    """Nobody looked."""


Live: TypeAlias = Manifest | Literal[Unseen.ABSENT, Unseen.UNKNOWN]


@dataclass(frozen=True, slots=True)
class Memory:
    """What we left behind: the content applied, and what the API server made of it."""

    digest: str
    uid: str
    resource_version: str
    fields: FieldSet | None
    """What the bundle sets in it, as the API server counts: ours, whoever owns it meanwhile."""
    fingerprint: str | None

    @classmethod
    def of(cls, digest: str, live: Manifest, manager: str, fields: FieldSet | None = None) -> Memory:
        metadata = live["metadata"]
        known = own_fields(live, manager) if fields is None else fields
        print_ = fingerprint(live, manager, known)
        return cls(digest, metadata["uid"], metadata["resourceVersion"], known, print_)


class Step(StrEnum):
    KEEP = "Keep"
    """Live is as wanted: no request."""
    READ = "Read"
    """Ask for the live object, then plan again."""
    WRITE = "Write"
    WAIT = "Wait"
    """It is being deleted: applied once it is gone."""
    DONE = "Done"
    """A Job that completed for this content: gone by its TTL, not made again."""


def plan_object(  # noqa: PLR0911 - guards
    desired: Desired, *, live: Live, memory: Memory | None, entry: Entry | None, manager: str
) -> Step:
    """Decide one object's step. The same content with nothing of ours changed never costs a write."""
    same = memory is not None and memory.digest == desired.digest
    if desired.options.if_not_present and isinstance(live, dict):
        return Step.KEEP if not live["metadata"].get("deletionTimestamp") else Step.WAIT
    if live is Unseen.UNKNOWN:
        # An entry without a uid was made for this very apply: there is nothing to read, in all likelihood.
        unsure = (
            desired.options.reads
            or same
            or (memory is None and entry is not None and entry.uid != "")
            or _ran(desired, entry)
        )
        return Step.READ if unsure else Step.WRITE
    if live is Unseen.ABSENT:
        if _ran(desired, entry):
            return Step.DONE
        # A view may lag behind our own write.
        return Step.READ if memory is not None else Step.WRITE
    if live["metadata"].get("deletionTimestamp"):
        return Step.WAIT
    if memory is not None and same and _untouched(memory, live, manager):
        return Step.KEEP
    return Step.WRITE if suspects(desired.manifest, live, manager) else Step.KEEP


class Fate(StrEnum):
    DELETE = "Delete"
    FORGET = "Forget"
    """Not ours (any more): drop it from the inventory, touch nothing."""
    RELEASE = "Release"
    """Leave it and take our label off."""
    WAIT = "Wait"
    """Not yet: look again in the next pass."""
    ASK = "Ask"
    """It holds data: not before a person confirms it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    fate: Fate
    reason: str = ""
    message: str = ""


PROTECTED_NAMESPACES = frozenset(
    {"default", "kube-system", "kube-public", "kube-node-lease", AGENT_NAMESPACE}
)


CONFIRM_DELETE = f"{GROUP}/confirm-delete"
"""On a live object that holds data: a person's yes to its deletion; the value is its own name."""
HOLDS_DATA = frozenset({GroupKind("", "PersistentVolumeClaim"), GroupKind("", "PersistentVolume")})
CONTAINERS = frozenset(
    {GroupKind("", "Namespace"), GroupKind("apiextensions.k8s.io", "CustomResourceDefinition")}
)
"""All that is in them goes along. Who has an app deleted means them, too; a bundle may just have lost them."""


def prune_verdict(  # noqa: PLR0911 - guards
    entry: Entry,
    live: Manifest,
    *,
    applyset: str,
    manager: str,
    applied_uids: AbstractSet[str] = frozenset(),
    decided: bool = False,
) -> Verdict:
    """What happens to an object that the inventory names and the bundle does not, given how it is now.

    `decided`: a person has the whole app deleted. Data needs a yes of its own even then.
    """
    metadata = live["metadata"]
    uid = metadata.get("uid", "")
    if entry.uid and uid != entry.uid:
        return Verdict(Fate.FORGET, "Recreated", "someone made it again: left alone")
    if uid in applied_uids:
        return Verdict(Fate.FORGET, "SameObject", "it is applied under another group or kind")
    if not _member(live, applyset=applyset, manager=manager):
        return Verdict(Fate.FORGET, "NotOurs", "its part-of label is not this app's: left alone")
    if kept(live):
        return Verdict(Fate.RELEASE, "Kept", "its keep annotation says so")
    if entry.ref.kind == "Namespace" and entry.ref.name in PROTECTED_NAMESPACES:
        return Verdict(Fate.RELEASE, "Protected", "this namespace is never deleted")
    asks = entry.ref.group_kind in (HOLDS_DATA if decided else HOLDS_DATA | CONTAINERS)
    if asks and str(annotations_of(live).get(CONFIRM_DELETE)) != entry.ref.name:
        what = "its data" if entry.ref.group_kind in HOLDS_DATA else "what is in it"
        message = f"{what} would go with it: annotate it with {CONFIRM_DELETE}: {entry.ref.name}, or keep it"
        return Verdict(Fate.ASK, CONFIRM, message)
    return Verdict(Fate.DELETE)


def _member(live: Manifest, *, applyset: str, manager: str) -> bool:
    """Whether the label is ours and we put it there. Without a field set of ours, the label has to do."""
    if (live["metadata"].get("labels") or {}).get(APPLYSET_PART_OF) != applyset:
        return False
    return own_fields(live, manager) is None or owns_label(live, manager, APPLYSET_PART_OF)


def to_prune(
    inventory: AbstractSet[ObjectRef],
    *,
    wanted: AbstractSet[ObjectRef],
    elsewhere: AbstractSet[ObjectRef] = frozenset(),
) -> tuple[frozenset[ObjectRef], frozenset[ObjectRef]]:
    """Split what the bundle no longer names: (to look at and delete, wanted by another app: to forget)."""
    gone = frozenset(inventory - wanted)
    return gone - elsewhere, gone & elsewhere


def older_or_same(version: str, than: str) -> bool:
    """Whether `version` tells nothing newer. Opaque versions can only be the same."""
    left, right = as_number(version), as_number(than)
    return version == than if left is None or right is None else left <= right


def _untouched(memory: Memory, live: Manifest, manager: str) -> bool:
    metadata = live["metadata"]
    if metadata["uid"] != memory.uid:
        return False
    if older_or_same(metadata["resourceVersion"], memory.resource_version):
        return True
    return memory.fingerprint is not None and fingerprint(live, manager, memory.fields) == memory.fingerprint


def _ran(desired: Desired, entry: Entry | None) -> bool:
    return desired.ref.group_kind == JOB and entry is not None and entry.done == desired.digest
