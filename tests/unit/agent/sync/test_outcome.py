"""When an app that failed is looked at again: what is enforced and what cannot be had wait by themselves."""

from __future__ import annotations

import pytest

from agent.apply.execute import Applier
from agent.contract.errors import ApiError
from agent.contract.health import SyncState
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from agent.kube.discovery import RestMapper
from agent.link.backoff import Backoff
from agent.link.bundles import BundleMismatch
from agent.link.session import HubRefused, HubUnreachable
from agent.sync.app import App
from agent.sync.outcome import TERMINAL_SECONDS, HubAway, broke, failed, unobtained


class _Highest:
    """A source of randomness that always waits as long as it may."""

    def uniform(self, _low: float, high: float) -> float:
        return high


@pytest.fixture
def app() -> App:
    """Nothing is asked of anybody here."""
    client = RestClient(KubeConfig("http://127.0.0.1:1"), user_agent="test")
    applier = Applier(client, RestMapper(client), manager="axle", applyset="a", app="shop/web")
    app = App(key="shop/web", applyset="a", manager="axle", applier=applier)
    app.obtaining = Backoff(base=0.5, cap=60.0, source=_Highest())  # type: ignore[arg-type]
    return app


def test_a_release_that_cannot_be_had_is_asked_for_ever_less_often_while_the_former_is_well(app: App) -> None:
    pauses = []
    for _ in range(9):
        app.backoff.reset()  # the round of what is enforced was a good one
        pauses.append(unobtained(app, HubUnreachable("no answer")).again)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("error", "sync", "unreached"),
    [
        (HubUnreachable("no answer"), SyncState.SYNCING, True),
        (HubRefused("busy", status=503), SyncState.SYNCING, True),
        (HubRefused("not there", status=404), SyncState.FAILED, False),
        (BundleMismatch("other bytes"), SyncState.FAILED, False),
        (HubAway("no session"), SyncState.SYNCING, False),
    ],
)
def test_only_a_hub_that_does_not_answer_is_waited_for(
    app: App, error: Exception, sync: SyncState, *, unreached: bool
) -> None:
    unobtained(app, error)  # type: ignore[arg-type]
    assert (app.sync, app.unreached) == (sync, unreached)
    assert str(error) in app.message


@pytest.mark.parametrize(
    ("status", "passes"), [(410, True), (429, True), (500, True), (403, False), (422, False)]
)
def test_f36_a_round_that_meets_a_gone_version_comes_back_as_after_any_error_that_passes(
    app: App, status: int, *, passes: bool
) -> None:
    again = failed(app, ApiError("refused", status=status)).again
    assert again is not None
    assert (again < TERMINAL_SECONDS) is passes


def test_an_error_of_the_agents_own_is_told_and_not_what_it_says(app: App) -> None:
    app.sync, app.message = SyncState.SYNCED, ""
    broke(app, IndexError("hunter2"))
    assert app.sync is SyncState.FAILED
    assert app.message.startswith("InternalError: IndexError in the agent")
    assert "hunter2" not in app.message
