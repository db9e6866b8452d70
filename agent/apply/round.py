"""What one round knows, and what follows for an object from how others fared. No requests here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from agent.apply.failures import explain
from agent.apply.plan import Unseen, older_or_same
from agent.apply.result import COMPLETED, MOVED, TAKEN, Action, ChangeEntry
from agent.contract.health import HealthState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from agent.apply.inventory import Inventory
    from agent.apply.plan import Live
    from agent.contract.bundle import ApplyPolicy
    from agent.contract.errors import AxletreeError
    from agent.contract.manifest import GroupKind, Manifest, ObjectRef
    from agent.health.result import HealthResult

View: TypeAlias = "Callable[[ObjectRef], Live]"
Gate: TypeAlias = "Callable[[Manifest], HealthResult]"

_MAX_NAMED = 3


def unknown(_: ObjectRef) -> Live:
    """The view of someone who watches nothing."""
    return Unseen.UNKNOWN


@dataclass(slots=True)
class Round:
    """What one round knows; it ends with it."""

    policy: ApplyPolicy
    inventory: Inventory
    view: View
    impersonate: str | None
    deadline: float
    defined: frozenset[GroupKind]
    entries: list[ChangeEntry] = field(default_factory=list)
    no_namespace: dict[str, str] = field(default_factory=dict)
    no_definition: dict[GroupKind, str] = field(default_factory=dict)
    taken: Mapping[ObjectRef, str] = field(default_factory=dict)
    moving: AbstractSet[ObjectRef] = frozenset()


def failed_entry(ref: ObjectRef, error: AxletreeError) -> ChangeEntry:
    failure = explain(error, ref)
    return ChangeEntry(
        ref,
        Action.FAILED,
        failure.reason,
        failure.message,
        transient=failure.transient,
        retry_after=failure.retry_after,
    )


def not_healthy(round_: Round, refs: AbstractSet[ObjectRef], gate: Gate) -> str:
    """The first objects of a step that are not Healthy, by the newest state at hand; empty: it may go on."""
    held = []
    for entry in round_.entries:
        if entry.ref not in refs or (entry.action is Action.SKIPPED and entry.reason == COMPLETED):
            continue
        live, seen = entry.live, round_.view(entry.ref)
        if isinstance(seen, dict) and (live is None or not older_or_same(_version(seen), _version(live))):
            live = seen
        if entry.action is Action.FAILED or live is None or gate(live).state is not HealthState.HEALTHY:
            held.append(str(entry.ref))
    more = f" and {len(held) - _MAX_NAMED} more" if len(held) > _MAX_NAMED else ""
    return ", ".join(held[:_MAX_NAMED]) + more


def _version(obj: Manifest) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def blocked_entry(round_: Round, ref: ObjectRef) -> ChangeEntry | None:
    """What is another app's is not touched; what needs something that failed would only fail in other words."""
    owner = round_.taken.get(ref)
    if owner is not None and ref in round_.moving:
        return ChangeEntry(ref, Action.SKIPPED, MOVED, f"it is {owner}'s by now")
    if owner is not None:
        return ChangeEntry(
            ref,
            Action.FAILED,
            TAKEN,
            f"it is {owner}'s, on this cluster too: one of the two has to leave it out",
        )
    why = round_.no_namespace.get(ref.namespace) if ref.namespace else None
    if why is not None:
        return ChangeEntry(ref, Action.SKIPPED, "NamespaceFailed", f"Namespace {ref.namespace}: {why}")
    why = round_.no_definition.get(ref.group_kind)
    if why is not None:
        return ChangeEntry(ref, Action.SKIPPED, "DefinitionFailed", f"its CRD: {why}")
    return None
