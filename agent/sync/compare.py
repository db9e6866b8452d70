"""A round of an app whose drift is not corrected: what differs is told, and nothing is written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.contract.health import DriftMode, SyncState
from agent.sync.alarms import alert, since
from agent.sync.outcome import Outcome
from agent.sync.status import drift_entry

if TYPE_CHECKING:
    from agent.apply.result import Drift
    from agent.contract.bundle import Bundle
    from agent.sync.app import App
    from agent.sync.watch import WatchSet


async def compare(app: App, bundle: Bundle, watches: WatchSet, *, deadline: float) -> Outcome:
    """Drift that is told, or ignored, and not corrected."""
    # What is compared is what is there now: a change that comes meanwhile must look like one afterwards.
    seen = {ref: watches.look(app.applyset, ref) for ref in app.desired}
    found: tuple[Drift, ...] = ()
    if bundle.policy.drift.mode is DriftMode.ALERT:
        found = await app.applier.check(
            bundle.objects,
            bundle.policy,
            inventory=app.inventory,
            deadline=deadline,
            view=lambda ref: watches.look(app.applyset, ref),
            taken=app.taken,
        )
    for ref, live in seen.items():
        if isinstance(live, dict) and not app.ahead_of(ref, live):
            app.see(ref, live, ours=True)
    app.changed.clear()
    app.drift = {
        each.ref: drift_entry(
            each.ref,
            each.paths,
            manager=each.manager,
            missing=each.missing,
            at=each.at,
            changes=each.changes,
        )
        for each in found
    }
    now = datetime.now(UTC)
    app.began = {ref: since(entry, app.began.get(ref), now=now) for ref, entry in app.drift.items()}
    message, again = alert(app.drift, app.began, now=now, after=bundle.policy.drift.alert_after)
    app.sync = SyncState.OUT_OF_SYNC if app.drift else SyncState.SYNCED
    app.message = message or (f"{len(app.drift)} objects differ from the bundle" if app.drift else "")
    app.backoff.reset()
    return Outcome(again)
