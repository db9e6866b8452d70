"""Waves as gates of the release rule: `hub.core.rollout.decide` asks them, and tells them what it let go."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hub.core.graph import title
from hub.core.model import Blocker
from hub.core.pins import BY_WAVE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, SetKey
    from hub.core.waves import Judgement

WAVE, INVERSION, PAUSED = "Wave", "WaveInversion", "Paused"
_MAX_PATH = 8


class WaveGate:
    """The waves of one set. Slots are taken as children are let go, until the next judgement."""

    def __init__(
        self, owner: SetKey, judgement: Judgement, *, inverted: Mapping[AppKey, str], paused: bool = False
    ) -> None:
        self._owner = owner
        self._judgement = judgement
        self._inverted = inverted
        self._paused = paused
        self._taken = [0] * len(judgement.waves)

    def __call__(self, node: AppNode) -> Blocker | None:
        if node.key in self._inverted:
            return Blocker(INVERSION, node.key, self._inverted[node.key])
        if self._paused:
            return paused_set(self._owner)
        index = self._judgement.wave_of.get(node.key)
        if index is None or node.pinned == BY_WAVE:  # on its way back, whatever the waves have come to
            return None
        index = min(index, len(self._judgement.waves) - 1)
        name = self._judgement.waves[index].status.name
        reason = self.state(index)
        return Blocker(WAVE, f"{self._owner}/{name}", reason) if reason else None

    def take(self, node: AppNode) -> None:
        """The child was let go: it holds a slot of its wave until it is Healthy, or has failed."""
        index = self._judgement.wave_of.get(node.key)
        if index is not None:
            self._taken[min(index, len(self._taken) - 1)] += 1

    def state(self, index: int) -> str:
        """Why a wave lets no child go now, in words; empty where it does."""
        if self._paused:
            return "paused"
        reason = self._judgement.reason_for(index)
        if reason:
            return reason
        wave = self._judgement.waves[index]
        if wave.in_flight + self._taken[index] < wave.slots:
            return ""
        return f"wave {wave.status.name} has {wave.slots} under way, which is all that it may have at once"

    @property
    def states(self) -> list[str]:
        return [self.state(index) for index in range(len(self._judgement.waves))]


def paused_set(owner: SetKey) -> Blocker:
    return Blocker(PAUSED, owner, f"set {owner} is paused")


def inversions(graph: AppGraph, wave_of: Mapping[AppKey, int], names: Sequence[str]) -> dict[AppKey, str]:
    """Children that depend, directly or not, on children of a later wave of their own set, each with the path.

    Such a wave waits for itself: the later one opens when the earlier is Done. With the waves as nodes of the
    graph it is a cycle through one of them.
    """
    found: dict[AppKey, str] = {}
    for later in sorted(set(wave_of.values()), reverse=True)[:-1]:
        members = {key for key, index in wave_of.items() if index == later}
        for key in sorted(graph.reverse_closure(members)):
            index = wave_of.get(key)
            if index is None or index >= later or key in found:
                continue
            path = _path(graph, key, members)
            steps = " -> ".join(_named(graph, each, wave_of, names) for each in path[:_MAX_PATH])
            found[key] = f"wave {names[index]} would wait for wave {names[later]}, which comes later: {steps}"
    return found


def _named(graph: AppGraph, key: AppKey, wave_of: Mapping[AppKey, int], names: Sequence[str]) -> str:
    node = graph.get(key)
    called = title(node) if node is not None else key
    return f"{called} ({names[wave_of[key]]})" if key in wave_of else called


def _path(graph: AppGraph, start: AppKey, goals: set[AppKey]) -> list[AppKey]:
    """A shortest chain of dependencies from `start` to one of the goals, both included."""
    came_from: dict[AppKey, AppKey] = {}
    queue = deque([start])
    while queue:
        current = queue.popleft()
        if current in goals:
            path = [current]
            while path[-1] != start:
                path.append(came_from[path[-1]])
            return path[::-1]
        for edge in graph.edges_of(current):
            for key in edge.targets:
                if key != start and key not in came_from:
                    came_from[key] = current
                    queue.append(key)
    return [start]
