"""No report is lost for good: not before the Assignment is known here, and not between two gateways."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from agent.contract.health import HealthState, SyncState
from agent.contract.names import HUB_NAMESPACE
from agent.contract.wire import AppReport, ReportBatch
from hub.gateway.assignments import Board
from hub.gateway.identity import HubIdentity
from hub.gateway.liveness import Liveness
from hub.gateway.reports import Intake
from hub.gateway.requested import Requested
from hub.gateway.writer import LatestWriter

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.reflector import Reflector
    from hub.gateway.observed import Observation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY = HubIdentity.create(now=NOW)
APPS = ("shop/a", "shop/b", "shop/c")


class Stored:
    """The API server's side: what is written of each app, and how."""

    def __init__(self) -> None:
        self.observed: dict[str, Observation] = {}
        self.careful: list[str] = []

    async def write(self, key: str, state: Observation) -> None:
        self.observed[key] = state

    async def write_carefully(self, key: str, state: Observation) -> None:
        self.careful.append(key)
        self.observed[key] = state

    def said(self) -> dict[str, str]:
        return {key: each.report.message for key, each in self.observed.items()}


class Cache:
    """What a watch has brought so far."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Manifest] = {}

    def subscribe(self, _callback: Any) -> None: ...


class Gateway:
    """The part of one that takes reports, over its own cache of Assignments."""

    def __init__(self, stored: Stored, name: str = "a/1") -> None:
        clock = asyncio.get_running_loop().time

        async def other(_key: str, _state: Any) -> None: ...

        self.cache = Cache()
        self.observed = LatestWriter(stored.write, clock=clock, careful=stored.write_carefully)
        rest = [LatestWriter(other, clock=clock) for _ in range(4)]
        self.intake = Intake(
            Board(cast("Reflector", self.cache), lambda: IDENTITY),
            Liveness(),
            observed=self.observed,
            agents=rest[0],
            requested=Requested(*rest[1:], had=lambda _cluster: False),
            clock=clock,
            now=lambda: NOW,
            name=name,
        )

    def learns(self, seq: int, *apps: str) -> None:
        """Let the watch bring the Assignment."""
        assigned = [{"app": app, "digest": "d" * 64, "blob": "b" * 64, "release": 1} for app in apps]
        self.cache.items[(HUB_NAMESPACE, "eu1")] = {
            "metadata": {"name": "eu1"},
            "spec": {"epoch": 1, "seq": seq, "apps": assigned},
        }


class Agent:
    """An agent's reports by the protocol: what changed, and after `resend` what was not in the batch."""

    def __init__(self, seq: int = 1, boot: str = "boot") -> None:
        self.latest: dict[str, str] = {}
        self.dirty: list[str] = []
        self.count, self.seq, self.boot = 0, seq, boot
        self.gateway, self.answered = "", 0

    def say(self, **messages: str) -> None:
        for name, message in messages.items():
            self.latest[f"shop/{name}"] = message
            self.dirty.append(f"shop/{name}")

    async def send(self, gateway: Gateway, *, answer_lost: bool = False, take: int | None = None) -> bool:
        """One batch, of `take` apps at most; whether everything else was asked for."""
        apps = list(dict.fromkeys(self.dirty))[:take]
        self.count += 1
        reports = [
            AppReport(
                app=app,
                release=1,
                sync=SyncState.SYNCED,
                health=HealthState.HEALTHY,
                message=self.latest[app],
                observed_at=NOW,
            )
            for app in apps
        ]
        batch = ReportBatch(
            epoch=1,
            seq=self.seq,
            boot=self.boot,
            count=self.count,
            gateway=self.gateway,
            answered=self.answered,
            reports=reports,
        )
        answer = gateway.intake.take("eu1", batch)
        for _ in range(10):  # what it wrote is written
            await asyncio.sleep(0)
        if answer_lost:
            return False
        self.gateway, self.answered = answer.gateway, self.count
        self.dirty = [app for app in self.dirty if app not in apps]
        if answer.resend:
            self.dirty += [app for app in self.latest if app not in apps]
        return answer.resend

    async def settle(self, gateway: Gateway) -> None:
        """Send until there is nothing to say: a heartbeat, and all that is asked for on it."""
        async with asyncio.timeout(30):
            await self.send(gateway)
            while self.dirty:
                await self.send(gateway)


async def test_what_came_before_the_assignment_did_is_asked_for_again() -> None:
    stored = Stored()
    gateway, agent = Gateway(stored), Agent()
    agent.say(a="1", b="1", c="1")
    await agent.send(gateway, take=1)
    await agent.send(gateway)
    await agent.send(gateway)
    assert stored.said() == {}
    gateway.learns(1, *APPS)
    await agent.settle(gateway)
    assert stored.said() == dict.fromkeys(APPS, "1")


async def test_an_assignment_that_never_comes_is_not_asked_about_for_ever() -> None:
    gateway, agent = Gateway(Stored()), Agent(seq=5)
    gateway.learns(3)
    agent.say(a="1", b="1")
    await agent.settle(gateway)
    assert not await agent.send(gateway)
    assert not await agent.send(gateway)


async def test_what_a_gateway_took_and_did_not_write_is_asked_for_by_the_next() -> None:
    """It was killed behind its answer; the other has heard the same process before, and knows nothing of it."""
    stored, grave = Stored(), Stored()
    survivor, killed = Gateway(stored, "b/1"), Gateway(grave, "a/1")
    agent = Agent()
    for gateway in (survivor, killed):
        gateway.learns(1, *APPS)
    agent.say(a="1", b="1", c="1")
    await agent.settle(survivor)
    agent.say(b="broken")
    await agent.settle(killed)
    assert stored.said()["shop/b"] == "1"
    await agent.settle(survivor)
    assert stored.said() == {"shop/a": "1", "shop/b": "broken", "shop/c": "1"}


async def test_what_another_gateway_wrote_meanwhile_does_not_make_old_news_of_new() -> None:
    stored = Stored()
    one, two = Gateway(stored, "a/1"), Gateway(stored, "b/1")
    agent = Agent()
    for gateway in (one, two):
        gateway.learns(1, *APPS)
    agent.say(a="fine")
    await agent.settle(one)
    agent.say(a="broken")
    await agent.settle(two)
    agent.say(a="fine")
    await agent.settle(one)
    assert stored.said() == {"shop/a": "fine"}
    assert stored.careful == ["shop/a"] * 3, "each looked at what is there: all were new to it"


async def test_one_gateway_that_starts_again_under_its_name_asks_and_trusts_what_it_recalls() -> None:
    stored = Stored()
    agent = Agent()
    agent.gateway, agent.answered, agent.count = "a/1", 7, 7
    again = Gateway(stored, "a/2")
    again.learns(1, *APPS)
    agent.say(a="1")
    assert await agent.send(again)
    assert not await agent.send(again)
    assert stored.careful == []
    assert stored.said() == {"shop/a": "1"}


async def test_a_question_for_everything_whose_answer_was_lost_is_asked_again() -> None:
    gateway, agent = Gateway(Stored()), Agent()
    gateway.learns(1, *APPS)
    agent.say(a="1", b="1")
    await agent.settle(gateway)
    agent.gateway = "b/1"
    assert not await agent.send(gateway, answer_lost=True)
    agent.gateway = "a/1"
    assert await agent.send(gateway)
    assert not await agent.send(gateway)


async def test_an_agent_that_says_nothing_of_answers_is_not_asked_for_ever() -> None:
    """One of an earlier version."""
    gateway = Gateway(Stored())
    gateway.learns(1, *APPS)
    asked = [
        gateway.intake.take("eu1", ReportBatch(epoch=1, seq=1, boot="old", count=count)).resend
        for count in range(1, 5)
    ]
    assert asked == [True, False, False, False]
