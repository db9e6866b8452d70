"""What is told of apps that the agent holds and nobody assigns: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.adoption import MAX_NAMES, MAX_ORPHANS, MAX_REFS, OrphanReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.sync.app import App

_MAX_REFS = 20
_REF, _TEXT = 600, 1024


def orphan_reports(apps: Iterable[App], *, unassigned: bool) -> list[OrphanReport]:
    """Those that are orphans, and those that were and are being purged by a person's decision.

    `unassigned`: there is no document of this hub, so that nobody has assigned anything here.
    """
    found = [
        app
        for app in apps
        if app.orphan
        or (app.tombstone is None and unassigned)
        or (app.tombstone is not None and app.tombstone.purge and not app.deleted)
    ]
    return [_report(app) for app in sorted(found, key=lambda app: app.key)[:MAX_ORPHANS]]


def _report(app: App) -> OrphanReport:
    refs = sorted(app.inventory.entries)
    return OrphanReport(
        app=app.key,
        objects=len(refs),
        kinds=sorted({str(ref.group_kind) for ref in refs})[:MAX_NAMES],
        namespaces=sorted({ref.namespace for ref in refs if ref.namespace})[:MAX_NAMES],
        refs=[str(ref)[:_REF] for ref in refs[:MAX_REFS]],
        going=app.tombstone is not None,
        message=app.message[:_TEXT],
    )
