"""How far each child of a rollout is, and which wave is its own. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from agent.contract.health import HealthState, SyncState
from agent.kube.selectors import Selector, SelectorError, parse_selector
from hub.core.clustersets import selects

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from hub.api.rollout import Wave
    from hub.core.model import AppKey, AppNode, ClusterView, Fleet


_SPARE = 64


class Phase(StrEnum):
    """How far one child is on the way to its target."""

    WAITING = "Waiting"
    IN_FLIGHT = "InFlight"
    FINISHED = "Finished"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class Places:
    """What is remembered between two judgements of one rollout: each cluster's wave, and how far each child is.

    A cluster is in the first wave that selects it. A judgement costs what moved, and a look at each child.
    """

    def __init__(self, waves: Sequence[Wave]) -> None:
        self._selectors = [_selector(wave) for wave in waves]
        self._known: dict[str, tuple[object, int]] = {}
        self._phases: dict[str, tuple[AppNode, ClusterView | None, Phase]] = {}

    def of(self, name: str, cluster: ClusterView | None) -> int:
        """The wave's index; the number of waves for a cluster that none selects."""
        labels = cluster.labels if cluster is not None else {}
        known = self._known.get(name)
        if known is None or known[0] is not labels:
            chosen = (
                index for index, selector in enumerate(self._selectors) if _selects(selector, name, labels)
            )
            known = self._known[name] = (labels, next(chosen, len(self._selectors)))
        return known[1]

    def forget_all_but(self, keys: Collection[AppKey]) -> None:
        """Drop what is remembered of children that are gone, once there are many."""
        if len(self._phases) > 2 * len(keys) + _SPARE:
            self._phases = {key: known for key, known in self._phases.items() if key in keys}

    def phase(self, node: AppNode, fleet: Fleet, *, timeout: timedelta, now: datetime, stale: str) -> Phase:
        """As `phase_of`, remembered for as long as neither the child nor its cluster differs, nor time counts."""
        cluster = fleet.clusters.get(node.cluster)
        known = self._phases.get(node.key)
        if known is not None and known[0] is node and known[1] is cluster:
            return known[2]
        phase = phase_of(node, fleet, timeout=timeout, now=now, stale=stale)
        timeless = phase is not Phase.IN_FLIGHT and (phase is not Phase.FAILED or _arrived(node) is not None)
        if timeless:
            self._phases[node.key] = (node, cluster, phase)
        return phase


def _selector(wave: Wave) -> Selector | bool:
    """True: every cluster. False: none, for a selector that the API server would refuse."""
    if wave.selector is None:
        return True
    try:
        return parse_selector(wave.selector.to_json())
    except SelectorError:
        return False


def _selects(selector: Selector | bool, name: str, labels: Mapping[str, str]) -> bool:  # noqa: FBT001 - a wave's
    return selector if isinstance(selector, bool) else selects(selector, name, labels)


def phase_of(node: AppNode, fleet: Fleet, *, timeout: timedelta, now: datetime, stale: str) -> Phase:
    """How far a child is. What was observed at its target stays known while its cluster is silent."""
    cluster = fleet.clusters.get(node.cluster)
    if cluster is None or not cluster.joined or not cluster.accepted or cluster.removing:
        return Phase.SKIPPED
    arrived = _arrived(node)
    if arrived is not None:
        return arrived
    if cluster.stale and stale != "Wait":
        return Phase.SKIPPED if stale == "Ignore" else Phase.FAILED
    if not node.target or node.released != node.target:
        return Phase.WAITING
    late = node.released_at is not None and node.released_at + timeout <= now
    return Phase.FAILED if late else Phase.IN_FLIGHT


def _arrived(node: AppNode) -> Phase | None:
    """Finished or Failed, where that is known of this very target."""
    if node.target_problem:
        return Phase.FAILED
    seen = node.observed
    if seen is None or not node.target or node.released != node.target or seen.release != node.release:
        return None
    if node.at_target and seen.health is HealthState.HEALTHY:
        return Phase.FINISHED
    failed = seen.sync is SyncState.FAILED or seen.health is HealthState.DEGRADED
    return Phase.FAILED if failed else None


def changed_by(nodes: Iterable[AppNode]) -> int:
    """The plan that last changed a running child of these; 0 while all run, or wait for, their first release.

    A child that appears is no change of its wave: what soaks goes on soaking, what is spent stays spent.
    """
    return max(
        (node.plan for node in nodes if node.release > 1 or (node.release and node.released != node.target)),
        default=0,
    )
