"""The fleet as the core sees it, kept as its parts move: an event costs what it touches, not the whole fleet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from agent.contract.names import HUB_CLUSTER, HUB_NAMESPACE
from hub.api.project import PROJECT_NAME, ProjectSpec
from hub.core.clustersets import ANNOTATION_SERVER
from hub.core.model import ClusterSetView, ClusterView, Fleet
from hub.gateway.beacon import holder_of, is_beacon, lasts
from hub.gateway.liveness import AgentLease, is_silent, lease_name
from hub.importers.application import IN_CLUSTER
from hub.operator import views

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.contract.manifest import Manifest
    from hub.operator.caches import Caches

_SWEEP = timedelta(seconds=1)
"""Between two looks at every cluster's silence: that one grows with no event at all. What else moves is told."""


class _Known(NamedTuple):
    obj: Manifest
    lease_obj: Manifest | None
    lease: AgentLease | None
    view: ClusterView


class Seen(NamedTuple):
    """What goes by one name, as expansion and rendering read it."""

    cluster: ClusterView | None = None
    cluster_set: ClusterSetView | None = None

    def address(self, name: str) -> tuple[str | None, ...]:
        """What children of any set may call the cluster by, beside its name."""
        if self.cluster is None:
            return ()
        server = self.cluster.annotations.get(ANNOTATION_SERVER)
        return (server, name) if name in (HUB_CLUSTER, IN_CLUSTER) else (server,) if server else ()


def seen(fleet: Fleet, key: str) -> Seen:
    """A cluster or cluster set of this name, or both. Whether it is heard, and when it may be changed, is no matter."""
    view = fleet.clusters.get(key)
    plain = None if view is None else replace(view, stale=False, behind=False, windows=())
    return Seen(plain, fleet.cluster_sets.get(key))


class FleetView:
    """`since` is when the reader started, `stale_after` in seconds: see `hub.gateway.liveness.is_silent`."""

    def __init__(
        self,
        caches: Caches,
        *,
        now: Callable[[], datetime],
        stale_after: float,
        since: datetime,
        epoch: int = 0,
    ) -> None:
        self._caches = caches
        self._now = now
        self._stale_after = stale_after
        self._patience = timedelta(seconds=stale_after)
        self._epoch = epoch
        self._since = since
        self._known: dict[str, _Known] = {}
        self._gateways: dict[str, datetime] = {}
        """Until when each gateway is known to live, by its name."""
        self._seqs: dict[str, int] = {}
        """The highest number that each cluster's Assignment had while this process looked."""
        self._dirty: set[str] = set()
        self._rest_moved = True
        self._swept: datetime | None = None
        self._fleet = Fleet()
        self._callbacks: list[Callable[[str], None]] = []
        caches.clusters.subscribe(self._cluster_moved)
        caches.leases.subscribe(self._lease_moved)
        caches.assignments.subscribe(self._assignment_moved)
        caches.cluster_sets.subscribe(self._rest)
        caches.projects.subscribe(self._rest)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Called with each cluster that differs, whichever way it came, before the fleet that says so is given."""
        self._callbacks.append(callback)

    def fleet(self) -> Fleet:
        """This moment's. The same object for as long as nothing in it differs."""
        now = self._now()
        self._sweep(now)
        moved = {name for name in self._dirty if self._look(name, now)}
        self._dirty.clear()
        if moved:
            clusters = dict(self._fleet.clusters)
            for name in moved:
                known = self._known.get(name)
                if known is None:
                    clusters.pop(name, None)
                else:
                    clusters[name] = known.view
                for callback in self._callbacks:
                    callback(name)
            self._fleet = replace(self._fleet, clusters=clusters)
        if self._rest_moved:
            self._rest_moved = False
            self._fleet = replace(self._fleet, cluster_sets=self._sets(), projects=self._projects())
        return self._fleet

    def _sweep(self, now: datetime) -> None:
        """Mark who fell silent since, which nobody does before agents had their Stale period to show up."""
        if self._swept is None:
            self._swept = now
            self._dirty.update(self._caches.clusters)
        elif now - self._swept >= _SWEEP and now - self._since > self._patience:
            self._swept = now
            self._dirty.update(
                name
                for name, known in self._known.items()
                if self._stale(known.lease, known.view, now) != known.view.stale
            )

    def _stale(self, lease: AgentLease | None, view: ClusterView, now: datetime) -> bool:
        until = None if lease is None else self._gateways.get(lease.holder)
        return view.joined and is_silent(lease, now, self._stale_after, since=self._since, kept_until=until)

    def _look(self, name: str, now: datetime) -> bool:
        """Bring one cluster's view up to date; gives whether it differs."""
        obj = self._caches.clusters.get(name)
        before = self._known.get(name)
        if obj is None:
            return self._known.pop(name, None) is not None
        lease_obj = self._caches.leases.get(f"{HUB_NAMESPACE}/{lease_name(name)}")
        if before is not None and before.lease_obj is lease_obj:
            lease = before.lease
        else:
            lease = AgentLease.read(lease_obj) if lease_obj is not None else None
        known = before is not None and before.obj is obj
        view = before.view if before is not None and known else views.cluster_view(obj, stale=False)
        stale = self._stale(lease, view, now)
        behind = lease is not None and (lease.epoch, lease.seq) > self._given(name)
        if (view.stale, view.behind) != (stale, behind):
            view = replace(view, stale=stale, behind=behind)
        self._known[name] = _Known(obj, lease_obj, lease, view)
        return before is None or before.view != view

    def _given(self, name: str) -> tuple[int, int]:
        """The highest position that this hub gave a cluster, or may give it at once: its epoch counts already.

        An Assignment that is gone counts as it was last seen: somebody deleted it, and it is written again. One that
        this process never saw may have been lost with all that the hub knew.
        """
        assignment = self._caches.assignments.get(f"{HUB_NAMESPACE}/{name}")
        if assignment is None:
            return self._epoch, self._seqs.get(name, 0)
        spec = assignment.get("spec") or {}
        return max(self._epoch, int(spec.get("epoch") or 0)), int(spec.get("seq") or 0)

    def next_seq(self, name: str) -> int:
        """What a first Assignment is to be numbered: past the clock, and past what this process saw there."""
        return max(int(self._now().timestamp()), self._seqs.get(name, 0) + 1)

    def _sets(self) -> dict[str, ClusterSetView]:
        found = (views.cluster_set_view(obj) for obj in self._caches.cluster_sets.values())
        return {view.name: view for view in found}

    def _projects(self) -> dict[str, ProjectSpec]:
        return {
            obj["metadata"]["namespace"]: ProjectSpec.model_validate(obj.get("spec") or {})
            for obj in self._caches.projects.values()
            if obj["metadata"]["name"] == PROJECT_NAME
        }

    # -- events

    def _cluster_moved(self, old: Manifest | None, new: Manifest | None) -> None:
        obj = new or old
        if obj is not None:
            self._dirty.add(obj["metadata"]["name"])

    def _assignment_moved(self, old: Manifest | None, new: Manifest | None) -> None:
        obj = new or old
        if obj is not None:
            name, seq = obj["metadata"]["name"], int((obj.get("spec") or {}).get("seq") or 0)
            self._seqs[name] = max(self._seqs.get(name, 0), seq)
            self._dirty.add(name)

    def _lease_moved(self, old: Manifest | None, new: Manifest | None) -> None:
        obj = new or old
        if obj is None:
            return
        if not is_beacon(obj):
            self._dirty.add(AgentLease.cluster_of(obj))
            return
        if new is None:
            self._gateways.pop(holder_of(obj), None)
        else:
            self._gateways[holder_of(new)] = self._now() + lasts(new)

    def _rest(self, _old: Manifest | None, _new: Manifest | None) -> None:
        self._rest_moved = True
