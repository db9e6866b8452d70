"""When an app's hooks run: before a release is applied, once it is Healthy, when it fails, before it is taken away.

What ended is kept with the release, before anything else of it happens: neither a restart nor another round runs a
hook of the same release again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from agent.apply.errors import HookFailed
from agent.apply.hookrun import CLEANED, HookRunner, Progress
from agent.apply.hooks import Phase
from agent.contract.health import HealthState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.apply.hookrun import Ledger
    from agent.contract.bundle import Bundle
    from agent.kube.client import RestClient
    from agent.kube.discovery import RestMapper
    from agent.link.state import SavedApp
    from agent.sync.app import App

Run: TypeAlias = "Callable[[App, Bundle], Awaitable[str]]"
"""A phase: it gives what is waited for, empty once it is over."""
HOOK_SECONDS = 1.0
"""How often a hook that runs is looked at: it is not watched."""


@dataclass(slots=True)
class Phases:
    """Runs the phases of apps. `save` begins the write that keeps a release with what ended of it."""

    client: RestClient
    mapper: RestMapper
    save: Callable[[App, SavedApp], asyncio.Task[None]]

    async def before(self, app: App, bundle: Bundle) -> str:
        """PreSync; gives what is waited for. Raises `HookFailed`."""
        if not _has(bundle, Phase.PRE_SYNC) or _over(app, bundle, Phase.PRE_SYNC):
            return ""
        await app.applier.accounts.user(bundle.policy)  # without it nothing is done, the namespace included
        await app.applier.namespaces.own(bundle.policy)
        return await self._run(app, bundle, Phase.PRE_SYNC)

    async def after(self, app: App, bundle: Bundle) -> str:
        """PostSync, once all of the app is Healthy; gives what is waited for. Raises `HookFailed`."""
        if not _has(bundle, Phase.POST_SYNC) or _over(app, bundle, Phase.POST_SYNC):
            return ""
        if app.health is not HealthState.HEALTHY:
            unwell = sorted(
                str(ref) for ref, said in app.results.items() if said.state != HealthState.HEALTHY
            )
            return f"PostSync waits for {', '.join(unwell[:3]) or 'the app'} to be Healthy"
        return await self._run(app, bundle, Phase.POST_SYNC)

    async def failed(self, app: App, bundle: Bundle) -> str:
        """SyncFail; gives what is waited for. A SyncFail hook that fails itself changes nothing more."""
        if not _has(bundle, Phase.SYNC_FAIL):
            return ""
        return (await self._look(app, bundle, Phase.SYNC_FAIL)).waiting

    async def before_removal(self, app: App, bundle: Bundle) -> str:
        """PreDelete; gives what is waited for. Raises `HookFailed`: the app stays until a person looked."""
        if not _has(bundle, Phase.PRE_DELETE):
            return ""
        return await self._run(app, bundle, Phase.PRE_DELETE)

    async def clean(self, app: App, bundle: Bundle) -> bool:
        """Take away what hooks left; gives whether it is all gone."""
        if not bundle.hooks:
            return True
        return await self._runner(app).remove(
            bundle.hooks,
            namespace=bundle.policy.namespace,
            impersonate=await app.applier.accounts.user(bundle.policy),
        )

    async def _run(self, app: App, bundle: Bundle, phase: Phase) -> str:
        progress = await self._look(app, bundle, phase)
        if progress.failed:
            raise HookFailed(progress.failed)
        return progress.waiting

    async def _look(self, app: App, bundle: Bundle, phase: Phase) -> Progress:
        saved = app.saved
        if saved is None:
            return Progress()

        async def record(ledger: Ledger) -> None:
            if app.saved is not None:
                app.saved = replace(app.saved, hooks=ledger)
                await asyncio.shield(self.save(app, app.saved))

        return await self._runner(app).run(
            phase,
            bundle.hooks,
            release=f"{saved.assigned.release}.{saved.assigned.digest[:16]}",
            namespace=bundle.policy.namespace,
            ledger=saved.hooks,
            record=record,
            impersonate=await app.applier.accounts.user(bundle.policy),
        )

    def _runner(self, app: App) -> HookRunner:
        return HookRunner(self.client, self.mapper, manager=app.manager, app=app.key)


def _has(bundle: Bundle, phase: Phase) -> bool:
    return any(phase in hook.phases for hook in bundle.hooks)


def _over(app: App, bundle: Bundle, phase: Phase) -> bool:
    """Whether every hook of the phase succeeded in this release, and was cleaned up: then nothing is asked."""
    ledger = app.saved.hooks if app.saved else ()
    done = sum(each.startswith(f"{phase} ") and each.endswith(" Succeeded") for each in ledger)
    return f"{phase} {CLEANED}" in ledger and done >= sum(phase in hook.phases for hook in bundle.hooks)
