"""What is said of an app, from what is known of its objects. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.contract.health import HealthState, SyncState
from agent.contract.wire import AppReport, DriftEntry, ObjectReport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agent.contract.manifest import ObjectRef
    from agent.health.result import HealthResult

MAX_OBJECTS = 20
MAX_DRIFT = 20
MAX_PATHS = 20
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
        drift=list(standing.drift[:MAX_DRIFT]),
        deleted=standing.deleted,
        held=standing.held[:_MESSAGE],
    )


def drift_entry(
    ref: ObjectRef,
    paths: tuple[str, ...],
    *,
    manager: str = "",
    missing: bool = False,
    corrected: bool = False,
) -> DriftEntry:
    """One drifted object; paths alone, since values may be secret."""
    named = ("(the object is gone)",) if missing else paths
    return DriftEntry(
        ref=str(ref)[:_REF],
        paths=[path[:_PATH] for path in named[:MAX_PATHS]],
        manager=manager[:_MANAGER],
        corrected=corrected,
    )
