"""What is said of an app, from what is known of its objects. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.contract.health import HealthState, SyncState
from agent.contract.wire import AppReport, DriftEntry, FieldChange, ObjectReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agent.apply.diff import Change
    from agent.contract.manifest import ObjectRef
    from agent.health.result import HealthResult

MAX_OBJECTS = 20
MAX_DRIFT = 20
MAX_PATHS = 20
MAX_CHANGES = 40
_MESSAGE = 2048
_REF = 600
_PATH = 400
_MANAGER = 128


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an app stands, less the health of its objects."""

    app: str
    release: int
    sync: SyncState
    digest: str | None = None
    message: str = ""
    drift: tuple[DriftEntry, ...] = ()
    deleted: bool = False
    held: str = ""
    floor: HealthState = HealthState.HEALTHY
    """The app is at least as bad as this, whatever its objects say."""
    extra: str = field(default="")
    """Why, for `floor`."""


def report_of(standing: Standing, results: Mapping[ObjectRef, HealthResult], *, now: datetime) -> AppReport:
    """Put it together within the wire's bounds: the worst objects are named, healthy ones only counted."""
    counts = Counter(result.state for result in results.values())
    unwell = sorted(
        ((ref, result) for ref, result in results.items() if result.state is not HealthState.HEALTHY),
        key=lambda pair: (-pair[1].state.rank, pair[0]),
    )
    state, message = standing.floor, standing.extra
    if unwell and unwell[0][1].state.rank > state.rank:
        ref, result = unwell[0]
        state, message = result.state, f"{ref}: {result.message}" if result.message else str(ref)
    return AppReport(
        app=standing.app,
        release=standing.release,
        digest=standing.digest,
        sync=standing.sync,
        message=standing.message[:_MESSAGE],
        health=state,
        health_message=message[:_MESSAGE],
        observed_at=now,
        counts={name.value: count for name, count in sorted(counts.items())},
        objects=[
            ObjectReport(ref=str(ref)[:_REF], state=result.state, message=result.message[:_MESSAGE])
            for ref, result in unwell[:MAX_OBJECTS]
        ],
        drift=_bounded(standing.drift),
        deleted=standing.deleted,
        held=standing.held[:_MESSAGE],
    )


def _bounded(drift: Sequence[DriftEntry]) -> list[DriftEntry]:
    """So many objects, and so many values in all: a report goes into an object of the hub."""
    found, left = [], MAX_CHANGES
    for entry in drift[:MAX_DRIFT]:
        kept = entry.changes[:left]
        left -= len(kept)
        found.append(entry if len(kept) == len(entry.changes) else entry.model_copy(update={"changes": kept}))
    return found


def drift_entry(
    ref: ObjectRef,
    paths: tuple[str, ...],
    *,
    manager: str = "",
    missing: bool = False,
    corrected: bool = False,
    fighting: bool = False,
    at: str = "",
    changes: Sequence[Change] = (),
) -> DriftEntry:
    """One drifted object: its paths, and such values as may be told."""
    named = ("(the object is gone)",) if missing else paths
    return DriftEntry(
        ref=str(ref)[:_REF],
        paths=[path[:_PATH] for path in named[:MAX_PATHS]],
        manager=manager[:_MANAGER],
        corrected=corrected,
        fighting=fighting,
        at=at[:64],
        changes=[
            FieldChange(path=each.path[:_PATH], wanted=each.wanted, live=each.live)
            for each in changes[:MAX_PATHS]
        ],
    )
