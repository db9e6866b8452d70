"""Waves that contradict edges, within a set and across sets. Pure.

A wave is a node of the graph: its children wait for it, and it waits for all children of the waves before. A child
is inverted where what it waits for, by edges and by waves of any set, waits for a later wave of its own set: that
one opens when the child's own wave is Done, so that both would wait for ever.

What is kept is small: sets and their waves, and which of these have an edge to which. Only where that alone closes a
cycle through a wave, the children themselves are looked at.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx

from hub.core.graph import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, SetKey

Place: TypeAlias = "tuple[SetKey, int]"
"""A wave of a set, by its index."""
Kind: TypeAlias = "Place | str"
"""All children of a wave; those of a set without waves; a hand-written Application."""
_MAX_PATH = 8


@dataclass(frozen=True, slots=True)
class _Gate:
    """A wave as what its children wait for."""

    place: Place


class WaveGraph:
    """The waves of every set beside the edges between their children. `linked` is to hear of every edge."""

    def __init__(self, graph: AppGraph) -> None:
        self._graph = graph
        self._kinds: dict[AppKey, Kind] = {}
        self._members: dict[Kind, set[AppKey]] = {}
        self._edges: Counter[tuple[Kind, Kind]] = Counter()
        """(what waits, what for) -> by how many edges."""
        self._shape_moved = self._moved = True
        self._suspects: frozenset[Kind] = frozenset()
        self._found: dict[AppKey, str] = {}

    def place(self, key: AppKey, kind: Kind | None) -> None:
        """Say what the Application counts as from now on; None for itself alone."""
        before, now = self._kinds.get(key, key), key if kind is None else kind
        if before == now:
            return
        if key in self._kinds:
            self._leave(key, self._kinds.pop(key))
        if kind is not None:
            self._kinds[key] = kind
            self._shape_moved |= kind not in self._members
            self._members.setdefault(kind, set()).add(key)
        self._recount(key, before, now)
        self._moved = True

    def inverted(self, names: Mapping[SetKey, Sequence[str]]) -> Mapping[AppKey, str]:
        """Every child that would wait for ever, each with the path. `names` are those of each set's waves."""
        if self._shape_moved:
            self._suspects = frozenset(suspects(self._edges, self._members))
            self._shape_moved, self._moved = False, True
        if self._moved:
            self._moved = False
            found = _Search(self._graph, self._kinds, self._members, names)
            self._found = found.run(self._suspects) if self._suspects else {}
        return self._found

    def _leave(self, key: AppKey, kind: Kind) -> None:
        self._members[kind].discard(key)
        if not self._members[kind]:
            del self._members[kind]
            self._shape_moved = True

    def linked(self, dependency: AppKey, dependent: AppKey, count: int) -> None:
        """An edge has come (1) or gone (-1)."""
        self._count(self._kinds.get(dependent, dependent), self._kinds.get(dependency, dependency), count)
        self._moved = True

    def _recount(self, key: AppKey, before: Kind, now: Kind) -> None:
        links = self._graph.links
        if key not in links:
            return
        for each in links.dependencies(key):
            other = self._kinds.get(each, each)
            self._count(before, before if each == key else other, -1)
            self._count(now, other, 1)
        for each in links.dependents(key):
            if each != key:
                other = self._kinds.get(each, each)
                self._count(other, before, -1)
                self._count(other, now, 1)

    def _count(self, waits: Kind, what: Kind, count: int) -> None:
        edge = (waits, what)
        now = self._edges[edge] + count
        self._shape_moved |= not now or now == count
        if now:
            self._edges[edge] = now
        else:
            del self._edges[edge]


def inversions(
    graph: AppGraph, waves: Mapping[SetKey, tuple[Mapping[AppKey, int], Sequence[str]]]
) -> Mapping[AppKey, str]:
    """The same for one moment. `waves` has of each set its children's waves, and the names of these."""
    found = WaveGraph(graph)
    for dependency, dependent in graph.links.edges():
        found.linked(dependency, dependent, 1)
    for key, (wave_of, _) in waves.items():
        for app, index in wave_of.items():
            found.place(app, (key, index))
    return found.inverted({key: names for key, (_, names) in waves.items()})


def suspects(edges: Iterable[tuple[Kind, Kind]], kinds: Iterable[Kind]) -> Iterator[Kind]:
    """Kinds that are in a cycle through a wave: where they are in none, none of their members is."""
    small: Any = nx.DiGraph()
    small.add_edges_from((waits, what) for waits, what in edges if waits != what)
    small.add_edges_from(_wave_edges(kinds))
    for found in nx.strongly_connected_components(small):
        if any(isinstance(each, _Gate) for each in found):
            yield from (each for each in found if len(found) > 1 and not isinstance(each, _Gate))


def _wave_edges(kinds: Iterable[Kind]) -> Iterator[tuple[Kind | _Gate, Kind | _Gate]]:
    """(what waits, what for) of each wave that has children and is not the first of its set."""
    places = sorted(kind for kind in kinds if not isinstance(kind, str))
    for before, place in pairwise(places):
        if before[0] == place[0]:
            yield place, _Gate(place)
            yield _Gate(place), before
            yield _Gate(place), _Gate(before)


class _Search:
    """Which children of some kinds are inverted."""

    def __init__(
        self,
        graph: AppGraph,
        kinds: Mapping[AppKey, Kind],
        members: Mapping[Kind, set[AppKey]],
        names: Mapping[SetKey, Sequence[str]],
    ) -> None:
        self._graph = graph
        self._kinds = kinds
        self._members = members
        self._names = names

    def run(self, inside: frozenset[Kind]) -> dict[AppKey, str]:
        whole: Any = nx.DiGraph()
        for kind in inside:
            for key in self._members.get(kind, {kind} if isinstance(kind, str) else ()):
                if key in self._graph.links:
                    whole.add_edges_from(
                        (key, each)
                        for each in self._graph.links.dependencies(key)
                        if self._kinds.get(each, each) in inside
                    )
        for waits, what in _wave_edges(self._members):
            for one in self._each(waits, inside):
                whole.add_edges_from((one, other) for other in self._each(what, inside))
        found: dict[AppKey, str] = {}
        for component in nx.strongly_connected_components(whole):
            gates = sorted((each.place for each in component if isinstance(each, _Gate)), reverse=True)
            if gates and len(component) > 1:
                self._look(whole.subgraph(component), gates, found)
        return found

    def _each(self, what: Kind | _Gate, inside: frozenset[Kind]) -> Iterable[AppKey | _Gate]:
        if isinstance(what, _Gate):
            return (what,)
        return self._members[what] if what in inside else ()

    def _look(self, part: Any, gates: list[Place], found: dict[AppKey, str]) -> None:
        """Of one component, the children of each wave that wait for a later one of their set."""
        for owner in dict.fromkeys(place[0] for place in gates):
            own = sorted({kind for key in part if (kind := self._place(key, owner)) is not None})
            for place in own:
                later = [_Gate(gate) for gate in gates if gate[0] == owner and gate > place]
                following = _toward(part, later, without={_Gate(gate) for gate in own if gate <= place})
                for key in sorted(self._members[place]):
                    if key in following:
                        found.setdefault(key, self._words(key, place, following))

    def _place(self, key: AppKey | _Gate, owner: SetKey) -> Place | None:
        kind = self._kinds.get(key) if isinstance(key, str) else None
        return kind if isinstance(kind, tuple) and kind[0] == owner else None

    def _words(self, key: AppKey, place: Place, following: Mapping[Any, Any]) -> str:
        path: list[Any] = [key]
        while path[-1] in following:
            path.append(following[path[-1]])
        owner, index = place
        apps = [self._named(each, owner) for each in path if not isinstance(each, _Gate)]
        steps = " -> ".join(apps[:_MAX_PATH])
        names, later = self._names[owner], path[-1].place[1]
        return f"wave {names[index]} would wait for wave {names[later]}, which comes later: {steps}"

    def _named(self, key: AppKey, owner: SetKey) -> str:
        node, kind = self._graph.get(key), self._kinds.get(key)
        called = title(node) if node is not None else key
        if not isinstance(kind, tuple):
            return called
        wave = self._names[kind[0]][kind[1]]
        return f"{called} ({wave})" if kind[0] == owner else f"{called} ({wave} of {kind[0]})"


def _toward(part: Any, goals: Iterable[_Gate], *, without: set[_Gate]) -> dict[Any, Any]:
    """Of each node from which a goal can be reached: the next one on a shortest way there."""
    following: dict[Any, Any] = {}
    queue: deque[Any] = deque(goals)
    ends = set(queue)
    while queue:
        current = queue.popleft()
        for before in sorted(part.predecessors(current), key=str):
            if before not in following and before not in ends and before not in without:
                following[before] = current
                queue.append(before)
    return following
