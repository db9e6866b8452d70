"""Getting an app's assigned release: from the hub, decoded, kept on the spoke before anything follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.apply.hooks import split
from agent.apply.shape import well_formed
from agent.contract.bundle import decode
from agent.link.state import SavedApp
from agent.sync.keeper import finished
from agent.sync.outcome import Blocked, HubAway

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agent.contract.bundle import Bundle
    from agent.contract.wire import AssignedApp
    from agent.link.bundles import BundleFetcher
    from agent.link.identity import Identity
    from agent.sync.app import App
    from agent.sync.keeper import Keeper


@dataclass(slots=True)
class Obtainer:
    """Gives apps their releases. `fetcher` is there while a session with the hub is."""

    keeper: Keeper
    identity: Identity
    waits_for: Callable[[App], tuple[str, ...]]
    """Apps that an app must wait for now; empty: it may go."""
    claim: Callable[[App], None]
    """Have an app's claims known to the others."""
    fetcher: BundleFetcher | None = None

    def decoded(self, saved: SavedApp) -> Bundle:
        """The bundle in the clear, its hooks apart. Raises `BundleCorrupt`, `BundleTooLarge`, `ObjectInvalid`."""
        bundle = self._opened(saved)
        well_formed(bundle.objects)
        members, hooks = split(bundle.objects)
        return bundle.model_copy(update={"objects": members, "hooks": hooks})

    def _opened(self, saved: SavedApp) -> Bundle:
        """By the present key or, for what came before that, by a former one."""
        present, *former = self.identity.sealing_keys
        return decode(
            saved.data,
            blob=saved.assigned.blob,
            private_key=present,
            app=saved.assigned.app,
            former=former,
        )

    async def obtain(self, app: App) -> asyncio.Task[None] | None:
        """Adopt the assigned release; gives the write that keeps it, which has begun.

        Where the bundle cannot be had, what is enforced stays, and the failure is the round's.
        """
        assigned, held = app.assigned, app.saved
        if assigned is None or (held is not None and held.assigned == assigned):
            return None if app.kept is held or held is None else self.keeper.save(app, held)
        if held is not None and held.assigned.blob == assigned.blob and app.bundle is not None:
            same = held.assigned.digest == assigned.digest
            passed, applied = same and held.passed, same and held.applied
            hooks = held.hooks if same else ()
            saved = SavedApp(
                assigned, held.data, passed=passed, applied=applied, order=app.order, hooks=hooks
            )
            app.adopt(saved, app.bundle)
            return self.keeper.save(app, saved)
        waiting = self.waits_for(app)
        saved, bundle = await self._fetch(app, assigned)
        if waiting and held is not None:
            raise Blocked(waiting)  # what is enforced goes on until the next one may
        saved = replace(saved, passed=not waiting)
        drops = bool(app.inventory.entries.keys() - app.names(bundle))
        app.adopt(saved, bundle)
        saving = self.keeper.save(app, saved)
        if drops:
            await finished(saving)  # before anything is pruned by it
        return saving

    async def bytes_of(self, assigned: AssignedApp) -> bytes:
        """A bundle as stored, verified. Raises `HubAway` where nobody can be asked."""
        if self.fetcher is None:
            raise HubAway(f"the bundle of release {assigned.release} is needed, and the hub is away")
        return await self.fetcher.fetch(assigned.blob)

    async def _fetch(self, app: App, assigned: AssignedApp) -> tuple[SavedApp, Bundle]:
        """The assigned release, decoded; its claims count from now on."""
        if app.coming is not None and app.coming[0].assigned == assigned:
            return app.coming
        if self.fetcher is None:
            raise HubAway(f"the bundle of release {assigned.release} is needed, and the hub is away")
        ahead = app.applier.accounts.look_ahead(app.bundle.policy) if app.bundle is not None else None
        if ahead is not None:
            self.keeper.track(ahead)
        data = await self.fetcher.fetch(assigned.blob)
        saved = SavedApp(assigned, data, passed=False, order=app.order)
        app.coming = saved, self.decoded(saved)
        self.claim(app)
        return app.coming
