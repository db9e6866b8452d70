from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from agent.contract.names import HUB_NAMESPACE
from hub.gateway.beacon import beacon
from hub.gateway.liveness import (
    ANNOTATION_CLUSTER,
    ANNOTATION_CONNECTED,
    ANNOTATION_EPOCH,
    ANNOTATION_SEQ,
    lease_name,
)
from hub.operator.fleetview import FleetView
from hub.operator.objects import Objects

_START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


class World:
    def __init__(self, *, epoch: int = 1, since: datetime = _START - timedelta(hours=1)) -> None:
        self.now = _START
        self.version = 0
        self.caches = SimpleNamespace(
            clusters=Objects(),
            leases=Objects(),
            cluster_sets=Objects(),
            projects=Objects(),
            assignments=Objects(),
        )
        self.view = FleetView(
            cast("Any", self.caches),
            now=lambda: self.now,
            stale_after=30.0,
            since=since,
            epoch=epoch,
        )

    def _metadata(self, name: str, **more: Any) -> dict[str, Any]:
        self.version += 1
        return {"name": name, "uid": name, "resourceVersion": str(self.version), **more}

    def cluster(self, name: str, **labels: str) -> None:
        metadata = self._metadata(name, labels=labels)
        obj = {"metadata": metadata, "spec": {"accepted": True}, "status": {"sealingKey": "k"}}
        self.caches.clusters.observe(None, obj)

    def assigned(self, name: str, *, epoch: int, seq: int) -> None:
        metadata = self._metadata(name, namespace=HUB_NAMESPACE)
        self.caches.assignments.observe(None, {"metadata": metadata, "spec": {"epoch": epoch, "seq": seq}})

    def heard(self, name: str, *, epoch: int = 0, seq: int = 0) -> None:
        notes = {ANNOTATION_CLUSTER: name, ANNOTATION_CONNECTED: "true"}
        notes |= {ANNOTATION_EPOCH: str(epoch), ANNOTATION_SEQ: str(seq)}
        metadata = self._metadata(lease_name(name), namespace=HUB_NAMESPACE, annotations=notes)
        spec = {"renewTime": self.now.isoformat().replace("+00:00", "Z"), "holderIdentity": "g"}
        self.caches.leases.observe(None, {"metadata": metadata, "spec": spec})

    def gateway(self, *, skew: float = 0.0, holder: str = "g") -> None:
        """It says that it lives, by its own clock."""
        lease = beacon(holder, now=self.now + timedelta(seconds=skew), stale_after=30.0)
        lease["metadata"] |= self._metadata(lease["metadata"]["name"])
        self.caches.leases.observe(None, lease)


def test_i7_a_cluster_whose_gateway_is_gone_is_stale_as_soon_as_it_would_be_by_its_own_silence() -> None:
    def stale() -> bool:
        return world.view.fleet().clusters["eu1"].stale

    world = World()
    world.cluster("eu1")
    world.heard("eu1")
    for _ in range(4):
        world.gateway(skew=-3600)  # whatever its clock says
        world.now += timedelta(seconds=25)
        assert not stale()
    world.now += timedelta(seconds=10)
    world.gateway(holder="another")
    assert stale()
    world.gateway()
    world.now += timedelta(seconds=1)
    assert not stale()


def test_a_gateway_that_tells_nothing_of_itself_is_believed_as_before() -> None:
    world = World()
    world.cluster("eu1")
    world.heard("eu1")
    world.now += timedelta(seconds=300)
    assert not world.view.fleet().clusters["eu1"].stale


def test_what_does_not_differ_is_the_same_object() -> None:
    world = World()
    world.cluster("eu1", env="prod")
    world.heard("eu1")
    first = world.view.fleet()
    assert (first.clusters["eu1"].labels, first.clusters["eu1"].stale) == ({"env": "prod"}, False)
    world.now += timedelta(seconds=5)
    world.heard("eu1")
    assert world.view.fleet() is first
    world.cluster("eu1", env="prod")
    assert world.view.fleet() is first


def test_a_changed_an_added_and_a_removed_cluster_are_seen_at_once() -> None:
    world = World()
    world.cluster("eu1", env="prod")
    before = world.view.fleet()
    world.cluster("eu1", env="dev")
    world.cluster("eu2")
    assert world.view.fleet().clusters["eu1"].labels == {"env": "dev"}
    assert sorted(world.view.fleet().clusters) == ["eu1", "eu2"]
    world.caches.clusters.observe(world.caches.clusters.get("eu1"), None)
    assert sorted(world.view.fleet().clusters) == ["eu2"]
    assert before.clusters["eu1"].labels == {"env": "prod"}, "who holds one sees one moment"


def test_silence_makes_stale_without_any_event() -> None:
    world = World()
    world.cluster("eu1")
    world.heard("eu1")
    assert not world.view.fleet().clusters["eu1"].stale
    world.now += timedelta(minutes=10)
    assert world.view.fleet().clusters["eu1"].stale
    world.heard("eu1")
    assert not world.view.fleet().clusters["eu1"].stale


def test_who_was_never_heard_is_stale_once_it_had_its_time_and_not_before() -> None:
    world = World(since=_START)
    world.cluster("eu1")
    assert not world.view.fleet().clusters["eu1"].stale
    world.now += timedelta(seconds=29)
    assert not world.view.fleet().clusters["eu1"].stale
    world.now += timedelta(seconds=2)
    assert world.view.fleet().clusters["eu1"].stale


def test_f3_a_cluster_whose_agent_holds_more_than_was_given_is_told_until_the_epoch_is_raised() -> None:
    world = World()
    world.cluster("eu1")
    world.assigned("eu1", epoch=1, seq=7)
    world.heard("eu1", epoch=1, seq=7)
    assert not world.view.fleet().clusters["eu1"].behind
    world.heard("eu1", epoch=1, seq=9)
    assert world.view.fleet().clusters["eu1"].behind
    raised = World(epoch=2)
    raised.cluster("eu1")
    raised.assigned("eu1", epoch=1, seq=7)
    raised.heard("eu1", epoch=1, seq=9)
    assert not raised.view.fleet().clusters["eu1"].behind


def test_an_assignment_that_somebody_deleted_is_no_hub_that_went_back_and_is_numbered_past_the_old_one() -> (
    None
):
    world = World(epoch=1)
    world.cluster("eu1")
    ahead = int(world.now.timestamp()) + 5
    world.assigned("eu1", epoch=1, seq=ahead)
    world.heard("eu1", epoch=1, seq=ahead)
    gone = world.caches.assignments.get("axletree-system/eu1")
    world.caches.assignments.observe(gone, None)
    world.heard("eu1", epoch=1, seq=ahead)
    assert not world.view.fleet().clusters["eu1"].behind
    assert world.view.next_seq("eu1") == ahead + 1
    lost = World(epoch=1)
    lost.cluster("eu1")
    lost.heard("eu1", epoch=1, seq=ahead)
    assert lost.view.fleet().clusters["eu1"].behind, "nobody here saw that it was there"
