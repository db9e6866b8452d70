"""How long an edge has held: with `soak` it opens only after it has held for that long without a break. Pure.

Kept for each app and edge is since when, and of what: the releases of all that it means. What is kept is written to
the app's status, so that a restart goes on counting; what is lost counts anew, which holds back at most.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json
from hub.api.dependency import At, Ready, Scope
from hub.core.edges import edge_blocker, live, words
from hub.core.model import Blocker
from hub.core.plan import parse_duration, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hub.api.dependency import Dependency
    from hub.core.graph import AppGraph, ResolvedEdge
    from hub.core.model import AppKey, AppNode, Fleet

SOAK = "Soak"
_MARK = 16


@dataclass(frozen=True, slots=True)
class Soak:
    """One edge that holds."""

    of: str
    """A mark of the edge's terms, and of what it means at which releases."""
    since: datetime

    def to_json(self, edge: str) -> dict[str, str]:
        return {"edge": edge, "of": self.of, "since": stamp(self.since)}


class Soaks:
    """What is kept of every app with such edges."""

    def __init__(self, graph: AppGraph) -> None:
        self._graph = graph
        self._kept: dict[AppKey, dict[str, Soak]] = {}

    def knows(self, key: AppKey) -> bool:
        return key in self._kept

    def restore(self, key: AppKey, raw: Iterable[Mapping[str, Any]]) -> None:
        """What an earlier process kept of the app."""
        self._kept[key] = {
            str(each["edge"]): Soak(
                str(each["of"]), datetime.fromisoformat(str(each["since"])).astimezone(UTC)
            )
            for each in raw
        }

    def forget(self, key: AppKey) -> None:
        self._kept.pop(key, None)

    def look(self, node: AppNode, fleet: Fleet, now: datetime) -> None:
        """Take note of the app's edges as they are at this moment."""
        before = self._kept.get(node.key, {})
        found = {}
        for edge in self._graph.edges_of(node.key):
            if edge.dependency.soak is None:
                continue
            mark = mark_of(edge.dependency)
            soak = self._soak(node, edge, before.get(mark), fleet=fleet, now=now)
            if soak is not None:
                found[mark] = soak
        self._kept[node.key] = found

    def blocker(self, node: AppNode, now: datetime) -> Blocker | None:
        """The first of its edges that hold and have not soaked; edges that do not hold have words of their own."""
        kept = self._kept.get(node.key, {})
        for edge in self._graph.edges_of(node.key):
            if edge.dependency.soak is None:
                continue
            soak = kept.get(mark_of(edge.dependency))
            targets = live(edge, self._graph)
            if soak is None or not targets:
                continue
            until = soak.since + parse_duration(edge.dependency.soak)
            if now < until:
                meant = words(node, edge.dependency)
                return Blocker(SOAK, targets[0].key, f"{meant} is ready, and soaks until {stamp(until)}")
        return None

    def until(self, node: AppNode, now: datetime) -> datetime | None:
        """When the next of its edges will have soaked."""
        kept = self._kept.get(node.key, {})
        moments = [
            soak.since + parse_duration(edge.dependency.soak)
            for edge in self._graph.edges_of(node.key)
            if edge.dependency.soak is not None and (soak := kept.get(mark_of(edge.dependency))) is not None
        ]
        return min((moment for moment in moments if moment > now), default=None)

    def to_json(self, key: AppKey) -> list[dict[str, str]] | None:
        """`status.soaks`; None for none."""
        return [soak.to_json(edge) for edge, soak in sorted(self._kept.get(key, {}).items())] or None

    def _soak(
        self, node: AppNode, edge: ResolvedEdge, before: Soak | None, *, fleet: Fleet, now: datetime
    ) -> Soak | None:
        if edge_blocker(node, edge, self._graph, fleet) is not None:
            return None
        dependency, targets = edge.dependency, live(edge, self._graph)
        # Of several alternatives one is enough: as long as any is ready, the edge holds without a break.
        any_of = dependency.clusters.scope is Scope.ANY
        of = "" if any_of else _digest([[each.key, each.release, each.released] for each in targets])
        if before is not None and before.of == of:
            return before
        return Soak(of, _since(dependency, targets, now))


def soaks(node: AppNode) -> bool:
    """Whether any of its edges has to soak."""
    return any(each.soak is not None for each in node.depends_on)


def mark_of(dependency: Dependency) -> str:
    """What tells an edge from others of its app, also after a restart: its terms."""
    return _digest(dependency.to_json())


def _since(dependency: Dependency, targets: list[AppNode], now: datetime) -> datetime:
    """Since when it is ready that the edge sees for the first time: what was Healthy before need not begin anew."""
    plain = dependency.ready == Ready.HEALTHY and dependency.at is At.TARGET
    known = [each.healthy_since for each in targets if each.healthy_since is not None]
    if not plain or len(known) < len(targets):
        return now
    return min(now, max(known, default=now))


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()[:_MARK]
