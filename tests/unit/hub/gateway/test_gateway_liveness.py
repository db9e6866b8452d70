from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hub.gateway.beacon import beacon, beacon_name, forgotten, is_beacon
from hub.gateway.liveness import (
    ANNOTATION_CONNECTED,
    RENEW_SECONDS,
    Liveness,
    agent_position,
    is_stale,
    lease_manifest,
    lease_name,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
STALE = 60.0


def lease(*, connected: bool = True, age: float = 0.0) -> dict[str, object]:
    return lease_manifest(
        "eu1", holder="g", now=NOW - timedelta(seconds=age), connected=connected, epoch=2, seq=9
    )


def test_a_lease_tells_other_processes_who_is_there() -> None:
    assert not is_stale(lease(), NOW, STALE)
    assert is_stale(lease(connected=False), NOW, STALE)
    assert not is_stale(lease(age=RENEW_SECONDS), NOW, STALE)
    assert is_stale(lease(age=RENEW_SECONDS + STALE + 1), NOW, STALE)
    assert agent_position(lease()) == (2, 9)
    assert agent_position(None) == (0, 0)


def test_a_restarted_hub_waits_one_stale_period_before_it_calls_anyone_stale() -> None:
    old = lease(age=3600)
    started = NOW - timedelta(seconds=STALE - 1)
    assert not is_stale(old, NOW, STALE, since=started)
    assert not is_stale(None, NOW, STALE, since=started)
    assert is_stale(old, NOW + timedelta(seconds=2), STALE, since=started)
    assert is_stale(None, NOW + timedelta(seconds=2), STALE, since=started)
    assert is_stale(lease(connected=False, age=3600), NOW, STALE, since=started)


def test_a_lease_that_does_not_read_is_no_sign_of_life() -> None:
    broken = lease()
    broken["spec"] = {"renewTime": "yesterday"}
    assert is_stale(broken, NOW, STALE)
    bare: dict[str, object] = {
        "metadata": {"name": "agent-eu1", "annotations": {ANNOTATION_CONNECTED: "yes"}}
    }
    assert is_stale(bare, NOW, STALE)


def test_of_gateways_that_are_long_gone_nothing_is_kept() -> None:
    old, new = (beacon(f"pod-{days}", now=NOW - timedelta(days=days)) for days in (2, 0))
    assert is_beacon(old)
    assert not is_beacon(lease(age=10**6))
    assert forgotten([old, new, lease(age=10**6)], NOW) == [beacon_name("pod-2")]


def test_long_cluster_names_still_have_a_lease() -> None:
    assert lease_name("eu1") == "agent-eu1"
    long = "x" * 253
    assert len(lease_name(long)) <= 253
    assert lease_name(long) != lease_name("x" * 252 + "y")


def test_changes_are_told_once_and_heartbeats_are_not() -> None:
    told: list[str] = []
    liveness = Liveness(stale_after=STALE)
    liveness.subscribe(told.append)
    for second in (0.0, 20.0, 40.0):
        liveness.heard("eu1", second, epoch=1, seq=1, hub=(1, 1))
    assert told == ["eu1"]
    liveness.tick(40.0 + STALE)
    assert liveness.stale(40.0 + STALE) == set()
    liveness.tick(41.0 + STALE)
    liveness.tick(42.0 + STALE)
    assert told == ["eu1", "eu1"]
    assert liveness.stale(42.0 + STALE) == {"eu1"}
    liveness.heard("eu1", 200.0, epoch=1, seq=1, hub=(1, 1))
    assert told == ["eu1"] * 3
    assert liveness.stale(200.0) == set()


def test_an_expected_cluster_that_never_comes_is_stale_after_its_period() -> None:
    liveness = Liveness(stale_after=STALE)
    liveness.expect("eu1", 100.0)
    liveness.expect("eu1", 150.0)
    assert liveness.stale(160.0) == set()
    assert liveness.stale(161.0) == {"eu1"}
    liveness.forget("eu1")
    assert liveness.stale(161.0) == set()


def test_f3_a_position_ahead_of_the_hub_is_told_at_once_and_when_it_ends() -> None:
    told: list[str] = []
    liveness = Liveness(stale_after=STALE)
    liveness.subscribe(told.append)
    liveness.heard("eu1", 0.0, epoch=1, seq=5, hub=(1, 5))
    liveness.heard("eu1", 1.0, epoch=1, seq=9, hub=(1, 5))
    liveness.heard("eu1", 2.0, epoch=1, seq=9, hub=(1, 5))
    assert told == ["eu1"] * 2
    liveness.heard("eu1", 3.0, epoch=1, seq=9, hub=(2, 1))
    assert told == ["eu1"] * 3


def test_s4_a_process_that_goes_on_after_another_gateway_heard_its_successor_is_a_clone() -> None:
    liveness = Liveness()
    at = {"epoch": 1, "seq": 1, "hub": (1, 1)}
    liveness.heard("eu1", 0.0, boot="a", **at)
    liveness.kept_elsewhere("eu1", 1.0, boot="b", connected=True)
    liveness.heard("eu1", 99.0, boot="a", **at)
    assert not liveness.cloned("eu1", 30.0), "it is the newer one: the Lease was not its own yet"
    liveness.kept("eu1", boot="a")
    liveness.kept_elsewhere("eu1", 100.0, boot="b", connected=True)
    liveness.heard("eu1", 120.0, boot="a", **at)
    assert not liveness.cloned("eu1", 30.0), "its last words may be late"
    liveness.kept_elsewhere("eu1", 130.0, boot="b", connected=True)
    liveness.heard("eu1", 131.0, boot="a", **at)
    assert liveness.cloned("eu1", 30.0)
    liveness.settle("eu1")
    liveness.heard("eu1", 140.0, boot="a", **at)
    assert not liveness.cloned("eu1", 30.0)


def test_a_process_that_merely_changed_its_gateway_or_took_over_is_no_clone() -> None:
    liveness = Liveness()
    told: list[str] = []
    liveness.subscribe(told.append)
    at = {"epoch": 1, "seq": 1, "hub": (1, 1)}
    liveness.heard("eu1", 0.0, boot="a", **at)
    liveness.kept("eu1", boot="a")
    liveness.kept_elsewhere("eu1", 1.0, boot="a", connected=True)
    liveness.heard("eu1", 90.0, boot="a", **at)
    assert not liveness.cloned("eu1", 30.0)
    liveness.kept_elsewhere("eu1", 91.0, boot="b", connected=True)
    liveness.heard("eu1", 92.0, boot="c", **at)
    liveness.heard("eu1", 190.0, boot="c", **at)
    assert not liveness.cloned("eu1", 30.0)
    assert told == ["eu1", "eu1"], "each new process takes the Lease"
    liveness.kept_elsewhere("eu1", 191.0, boot="b", connected=False)
    assert told == ["eu1"] * 3, "silent there, and heard here"
