"""Who wants which object: by it a move between apps is no deletion, and two apps never fight over one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.sync.words import arriving_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import ObjectRef
    from agent.sync.app import App


class Claims:
    """An index over the apps of one agent, kept by `update`."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._apps = apps
        self._wanted_by: dict[ObjectRef, set[str]] = {}
        self.halted = ""
        """Why nothing at all may be deleted here now."""

    def update(self, app: App) -> set[str]:
        """Take an app's claims anew; gives the other apps that were denied what it has let go of."""
        claims, wishes = app.claims(), app.wishes()
        freed = (app.indexed - claims) | (app.wished - wishes)
        denied = {
            key for ref in freed for key in self._wanted_by.get(ref, ()) if ref in self._apps[key].taken
        }
        for ref in app.indexed - claims:
            owners = self._wanted_by[ref]
            owners.discard(app.key)
            if not owners:
                del self._wanted_by[ref]
        for ref in claims - app.indexed:
            self._wanted_by.setdefault(ref, set()).add(app.key)
        app.indexed, app.wished = claims, wishes
        return denied - {app.key}

    def elsewhere(self, app: App) -> frozenset[ObjectRef]:
        """Objects of an app's inventory that other apps want."""
        return frozenset(ref for ref in app.inventory.entries if self._wanted_by.get(ref, set()) - {app.key})

    def arriving(self, app: App) -> tuple[str, ...]:
        """Other apps of which nobody knows yet what they want."""
        return tuple(other.key for other in self._apps.values() if other is not app and not other.arrived)

    def unsettled(self, app: App) -> str:
        """Why nothing of an app may be deleted yet; empty: it may."""
        others = self.arriving(app)
        return self.halted or (arriving_text(others) if others else "")

    def everything(self) -> frozenset[ObjectRef] | None:
        """All that any app wants; None while that is not known of each, or nothing may be deleted."""
        if self.halted or not all(app.arrived for app in self._apps.values()):
            return None
        return frozenset(self._wanted_by)

    def taken(self, app: App) -> dict[ObjectRef, str]:
        """What an app names and another app owns, with the owner's key.

        Of all that want an object by the newest bundle that is known of each, the one that has it already owns it,
        and of those that have, or have not, the first by name: every agent and every restart decides the same.
        """
        found: dict[ObjectRef, str] = {}
        for ref in app.indexed:
            keys = self._wanted_by.get(ref, set())
            if len(keys) > 1:
                owner = self._owner(ref, keys)
                if owner not in {"", app.key}:
                    found[ref] = owner
        return found

    def _owner(self, ref: ObjectRef, keys: set[str]) -> str:
        wanting = [self._apps[key] for key in keys if key in self._apps and ref in self._apps[key].wished]
        return min(((not app.has(ref), app.key) for app in wanting), default=(True, ""))[1]
