"""A round of an app whose drift is not corrected: what differs is told, and nothing of the bundle is written.

What its release left out is still deleted: that is no drift, and what held it may be gone, or a person said yes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.contract.health import DriftMode, SyncState
from agent.sync.alarms import alert, since
from agent.sync.outcome import CONFIRM_SECONDS, PENDING_SECONDS, Outcome
from agent.sync.status import drift_entry
from agent.sync.words import failures, unconfirmed

if TYPE_CHECKING:
    from agent.apply.result import Drift
    from agent.contract.bundle import Bundle
    from agent.sync.app import App
    from agent.sync.claims import Claims
    from agent.sync.keeper import Keeper
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
    return Outcome(again)


async def prune_rest(
    app: App, bundle: Bundle, *, claims: Claims, keeper: Keeper, deadline: float
) -> float | None:
    """Go on with what the release left out and is not gone yet; gives when to look again, None: it is over."""
    app.held = ""
    if not bundle.policy.prune or not app.inventory.entries.keys() - app.names(bundle):
        app.backoff.reset()
        return None
    unsettled = claims.unsettled(app)
    if unsettled:
        _say(app, unsettled)
        return CONFIRM_SECONDS if claims.halted else PENDING_SECONDS
    result = await app.applier.finish_pruning(
        bundle.objects,
        bundle.policy,
        inventory=app.inventory,
        save=lambda inventory: keeper.save_inventory(app, inventory, None),
        deadline=deadline,
        elsewhere=claims.elsewhere(app),
    )
    app.remember(result.inventory)
    if result.failed:
        app.sync = SyncState.FAILED
        _say(app, failures(result))
        return app.backoff.next(retry_after=result.retry_after)
    if result.unconfirmed:
        app.held = unconfirmed(result)
        _say(app, app.held)
        return CONFIRM_SECONDS
    if result.pending:
        _say(app, f"{len(result.pending)} pruned objects are not gone yet")
        return min(5.0, app.backoff.next()) + PENDING_SECONDS
    app.backoff.reset()
    return None


def _say(app: App, message: str) -> None:
    app.message = f"{message}; {app.message}" if app.message else message
