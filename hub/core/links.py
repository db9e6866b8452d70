"""Who waits for whom, and where that closes a cycle: kept edge by edge.

Each change costs what it touches: an edge is tested for a cycle by a search from both its ends, of which one is
small in any fleet that is not all chain. Cycles are kept as strongly connected components: every member waits for
itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hub.core.model import AppKey

    Ear = Callable[[AppKey, AppKey, int], None]


class Links:
    """Edges run from a dependency to its dependents."""

    def __init__(self) -> None:
        self._graph: nx.DiGraph[AppKey] = nx.DiGraph()
        self._components: dict[AppKey, frozenset[AppKey]] = {}
        self._ears: list[Ear] = []

    def subscribe(self, ear: Ear) -> None:
        """Called with (dependency, dependent, 1 or -1) after each edge that comes or goes."""
        self._ears.append(ear)

    def add(self, key: AppKey) -> None:
        self._graph.add_node(key)

    def remove(self, key: AppKey) -> set[AppKey]:
        """Forget a node and its edges. Returns everyone who was in a cycle with it."""
        edges = {(each, key) for each in self.dependencies(key)} | {
            (key, each) for each in self.dependents(key)
        }
        component = self._components.get(key, frozenset())
        self._graph.remove_node(key)
        for dependency, dependent in edges:
            self._tell(dependency, dependent, -1)
        return self._recompute(component - {key}, also=component)

    def link(self, dependency: AppKey, dependent: AppKey) -> set[AppKey]:
        """Returns everyone who is in a cycle by that."""
        if self._graph.has_edge(dependency, dependent):
            return set()
        self._graph.add_edge(dependency, dependent)
        self._tell(dependency, dependent, 1)
        if self.same_cycle(dependency, dependent) or not self._closes(dependency, dependent):
            return set()
        graph: Any = self._graph  # the stubs want nodes of type object
        component = frozenset(
            (nx.descendants(graph, dependent) & nx.ancestors(graph, dependent)) | {dependent}
        )
        for key in component:
            self._components[key] = component
        return set(component)

    def unlink(self, dependency: AppKey, dependent: AppKey) -> set[AppKey]:
        """Returns everyone who was in a cycle by that."""
        if not self._graph.has_edge(dependency, dependent):
            return set()
        self._graph.remove_edge(dependency, dependent)
        self._tell(dependency, dependent, -1)
        if not self.same_cycle(dependency, dependent):
            return set()
        component = self._components[dependent]
        return self._recompute(component, also=component)

    # -- questions

    def __contains__(self, key: object) -> bool:
        return key in self._graph

    def edges(self) -> Iterator[tuple[AppKey, AppKey]]:
        """(dependency, dependent) of each."""
        return iter(self._graph.edges)

    def dependents(self, key: AppKey) -> Iterator[AppKey]:
        return iter(self._graph.successors(key))

    def dependencies(self, key: AppKey) -> Iterator[AppKey]:
        return iter(self._graph.predecessors(key))

    def reverse_closure(self, keys: Iterable[AppKey]) -> set[AppKey]:
        """Everything that depends on any of `keys`, directly or not, and they themselves."""
        found = {key for key in keys if key in self._graph}
        queue = deque(found)
        while queue:
            fresh = set(self._graph.successors(queue.popleft())) - found
            found |= fresh
            queue.extend(fresh)
        return found

    def same_cycle(self, one: AppKey, other: AppKey) -> bool:
        return other in self._components.get(one, ())

    def cycle_of(self, key: AppKey) -> tuple[AppKey, ...]:
        """A shortest cycle through the node, from it back to it, each depending on the next; () for none."""
        component = self._components.get(key)
        if component is None:
            return ()
        if self._graph.has_edge(key, key):
            return (key, key)
        came_from: dict[AppKey, AppKey] = {}
        queue = deque([key])
        while queue:
            current = queue.popleft()
            for dependency in sorted(self._graph.predecessors(current)):
                if dependency == key:
                    return (*_walk(came_from, current, key), key)
                if dependency in component and dependency not in came_from:
                    came_from[dependency] = current
                    queue.append(dependency)
        raise AssertionError(f"{key} is in a component without a cycle")

    def cycles(self) -> tuple[frozenset[AppKey], ...]:
        """Every component that waits for itself, in a fixed order."""
        return tuple(sorted(set(self._components.values()), key=min))

    def order(self) -> list[list[AppKey]]:
        """Generations: each depends only on earlier ones. The members of a cycle share one."""
        if not self._components:
            return [sorted(generation) for generation in nx.topological_generations(self._graph)]
        condensed = nx.condensation(self._graph)
        members = condensed.nodes(data="members")
        return [
            sorted(key for component in generation for key in members[component])
            for generation in nx.topological_generations(condensed)
        ]

    # -- the inside

    def _tell(self, dependency: AppKey, dependent: AppKey, count: int) -> None:
        for ear in self._ears:
            ear(dependency, dependent, count)

    def _closes(self, dependency: AppKey, dependent: AppKey) -> bool:
        """Whether the new edge closes a cycle: its dependent reaches its dependency."""
        if dependency == dependent:
            return True
        if not self._graph.in_degree(dependency) or not self._graph.out_degree(dependent):
            return False
        return bool(nx.has_path(self._graph, dependent, dependency))

    def _recompute(self, members: frozenset[AppKey], *, also: frozenset[AppKey]) -> set[AppKey]:
        """What is left of a component that lost an edge or a member. Returns everyone who was in it."""
        for key in also:
            self._components.pop(key, None)
        inside: Any = self._graph.subgraph(members)
        for found in nx.strongly_connected_components(inside):
            component = frozenset(found)
            if len(component) > 1 or any(inside.has_edge(key, key) for key in component):
                for key in component:
                    self._components[key] = component
        return set(members)


def _walk(came_from: Mapping[AppKey, AppKey], last: AppKey, first: AppKey) -> list[AppKey]:
    path = [last]
    while path[-1] != first:
        path.append(came_from[path[-1]])
    return path[::-1]
