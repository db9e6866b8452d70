"""Waves as gates of the release rule: `hub.core.rollout.decide` asks them, and tells them what it let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.core.backward import goes_back
from hub.core.model import Blocker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from hub.core.model import AppKey, AppNode, SetKey
    from hub.core.waves import Judgement

WAVE, INVERSION, PAUSED = "Wave", "WaveInversion", "Paused"


class WaveGate:
    """The waves of one set. Slots are taken as children are let go, until the next judgement."""

    def __init__(
        self,
        owner: SetKey,
        judgement: Judgement,
        *,
        inverted: Mapping[AppKey, str],
        paused: bool = False,
        pinning: Collection[AppKey] = (),
        dependents: Callable[[AppKey], Collection[AppKey]] = lambda _: (),
    ) -> None:
        """`pinning` are children that a wave takes back, and that are not pinned yet: what they need waits."""
        self._owner = owner
        self._judgement = judgement
        self._inverted = inverted
        self._paused = paused
        self._pinning = frozenset(pinning)
        self._dependents = dependents
        self._taken = [0] * len(judgement.waves)

    def __call__(self, node: AppNode) -> Blocker | None:
        if node.key in self._inverted:
            return Blocker(INVERSION, node.key, self._inverted[node.key])
        if self._paused:
            return paused_set(self._owner)
        index = self._judgement.wave_of.get(node.key)
        if index is None:
            return None
        index = min(index, len(self._judgement.waves) - 1)
        name = self._judgement.waves[index].status.name
        # on its way back, it is let go whatever the waves have come to
        reason = self._behind(node) if goes_back(node) else self.state(index)
        return Blocker(WAVE, f"{self._owner}/{name}", reason) if reason else None

    def _behind(self, node: AppNode) -> str:
        if not self._pinning or self._pinning.isdisjoint(self._dependents(node.key)):
            return ""
        return "what depends on it goes back first, and is not pinned yet"

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
        """Of all waves, and what is being pinned: where this is the same, every child's gate is."""
        return [*(self.state(index) for index in range(len(self._judgement.waves))), *sorted(self._pinning)]


def paused_set(owner: SetKey) -> Blocker:
    return Blocker(PAUSED, owner, f"set {owner} is paused")
