"""What a scrape reads from memory: the controller's counts and the gateway's agents."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from hub.core.model import ClusterView, Fleet
    from hub.gateway.liveness import Liveness
    from hub.operator.caches import Caches
    from hub.telemetry.tally import Mark, Tally

Key = TypeVar("Key", bound=tuple[str, ...])
MAX_SETS = 500
"""Sets with a series of their own, the largest first; the others are counted together."""
MAX_AGENTS = 1000
"""Clusters with a series of their own: those that were silent for longest."""
OTHERS = "(others)"


class ControllerSource:
    """Reads what a term holds; made anew with it."""

    def __init__(
        self,
        tally: Tally,
        caches: Caches,
        *,
        fleet: Callable[[], Fleet],
        depths: Callable[[], Mapping[str, int]],
        writes: Callable[[], int],
    ) -> None:
        self._tally = tally
        self._caches = caches
        self._fleet = fleet
        self._depths = depths
        self._writes = writes

    def __call__(self) -> Iterator[Metric]:
        yield from applications(self._tally.marks)
        fleet = self._fleet()
        yield _gauge(
            "axletree_clusters",
            "Clusters by state.",
            ("state",),
            Counter((state_of(view),) for view in fleet.clusters.values()),
        )
        unheard = GaugeMetricFamily(
            "axletree_applications_stale", "Applications on clusters that are not heard: their health is old."
        )
        stale = (name for name, view in fleet.clusters.items() if view.stale)
        unheard.add_metric((), sum(len(self._caches.on_cluster(name)) for name in stale))
        yield unheard
        sets = Counter(_set_health(obj) for obj in self._caches.sets.view().values())
        yield _gauge("axletree_applicationsets", "ApplicationSets by health.", ("health",), sets)
        writes = CounterMetricFamily(
            "axletree_api_writes", "Writes of the controller to the hub's API server, since it leads."
        )
        writes.add_metric((), self._writes())
        yield writes
        yield depths(self._depths(), part="controller")


class GatewaySource:
    """Reads what a gateway knows of its agents. `clock` as the liveness was told, `now` in seconds of the epoch."""

    def __init__(
        self,
        liveness: Liveness,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
        depths: Callable[[], Mapping[str, int]],
    ) -> None:
        self._liveness = liveness
        self._clock = clock
        self._now = now
        self._depths = depths

    def __call__(self) -> Iterator[Metric]:
        agents = self._liveness.agents
        words = {None: "Awaited", True: "Connected", False: "Silent"}
        states = Counter({(word,): 0 for word in words.values()})
        states.update((words[agent.connected],) for agent in agents.values())
        yield _gauge("axletree_agents", "Agents of this gateway by state.", ("state",), states)
        seen = GaugeMetricFamily(
            "axletree_agent_last_seen_timestamp_seconds",
            f"When each agent was heard last; the {MAX_AGENTS} that were silent for longest.",
            labels=("cluster",),
        )
        heard = sorted((agent.heard, name) for name, agent in agents.items() if agent.heard is not None)
        offset = self._now() - self._clock()
        for moment, name in heard[:MAX_AGENTS]:
            seen.add_metric((name,), moment + offset)
        yield seen
        yield depths(self._depths(), part="gateway")


def applications(marks: Mapping[Mark, int]) -> Iterator[Metric]:
    """Counts by set; those of one namespace add up, whatever the number of sets is."""
    sizes: Counter[tuple[str, str]] = Counter()
    for mark, count in marks.items():
        sizes[mark.namespace, mark.set] += count
    own = {key for key, _ in sizes.most_common(MAX_SETS)}
    states: Counter[tuple[str, ...]] = Counter()
    blocked: Counter[tuple[str, ...]] = Counter()
    held: Counter[tuple[str, ...]] = Counter()
    for mark, count in marks.items():
        where = (mark.namespace, mark.set) if (mark.namespace, mark.set) in own else (OTHERS, OTHERS)
        states[(*where, mark.health, mark.sync)] += count
        if mark.blocked:
            blocked[(*where, mark.blocked)] += count
        if mark.held:
            held[(*where, mark.held)] += count
    place = ("namespace", "applicationset")
    yield _gauge(
        "axletree_applications",
        "Applications by health and sync; applicationset is empty for those written by hand.",
        (*place, "health", "sync"),
        states,
    )
    yield _gauge(
        "axletree_applications_blocked",
        "Applications whose release waits, by the first thing that holds it.",
        (*place, "edge"),
        blocked,
    )
    yield _gauge(
        "axletree_deletions_held", "Deletions that wait for a person, by cause.", (*place, "cause"), held
    )


def depths(found: Mapping[str, int], *, part: str) -> Metric:
    counts = {(name,): depth for name, depth in found.items()}
    return _gauge(f"axletree_{part}_queue_depth", f"What waits in the {part}, by queue.", ("queue",), counts)


def state_of(view: ClusterView) -> str:
    if view.removing:
        return "Removing"
    if not view.accepted:
        return "Pending"
    if not view.joined:
        return "NotJoined"
    if view.stale:
        return "Stale"
    if view.behind:
        return "Behind"
    return "Ready"


def _set_health(obj: Mapping[str, object]) -> tuple[str]:
    status = obj.get("status")
    health = status.get("health") if isinstance(status, dict) else None
    return (str((health or {}).get("state") or "Unknown"),)


def _gauge(name: str, told: str, labels: tuple[str, ...], counts: Mapping[Key, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=labels)
    for key, count in sorted(counts.items()):
        family.add_metric(key, count)
    return family
