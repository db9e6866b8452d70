"""The dependency graph over expanded children, kept as the fleet changes.

Each change costs what it touches: who is meant by an edge is kept by watches (`hub.core.matching`), what that closes
by links (`hub.core.links`), and a changed report changes no edge.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.core.links import Links
from hub.core.matching import AnchorIndex, Watch, watch_of
from hub.core.sides import gate_view, identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hub.api.dependency import Dependency
    from hub.core.model import AppKey, AppNode, ClusterView, SetKey


@dataclass(frozen=True, slots=True)
class ResolvedEdge:
    """One dependency of a node and what it means now, in a fixed order; deleting nodes included."""

    dependency: Dependency
    targets: tuple[AppKey, ...]
    missing: tuple[str, ...] = ()
    """Clusters that it names and on which nothing is meant."""
    problem: str = ""


def title(node: AppNode) -> str:
    """`backend@eu1`: how people call an app on a cluster, whether or not its name repeats the cluster's."""
    return f"{node.name.removesuffix(f'-{node.cluster}')}@{node.cluster}"


class AppGraph:
    """All Applications of the hub, their edges, and the indexes that find them."""

    def __init__(self) -> None:
        self._nodes: dict[AppKey, AppNode] = {}
        self._cluster_labels: dict[str, Mapping[str, str]] = {}
        self._index = AnchorIndex()
        self._watches: dict[AppKey, list[Watch]] = {}
        """As the node's dependencies stand."""
        self._shared: dict[tuple[object, ...], Watch] = {}
        self._dependents: dict[Watch, set[AppKey]] = {}
        self._by_cluster_labels: set[Watch] = set()
        self._meant: dict[Watch, set[AppKey]] = {}
        self._resolved: dict[AppKey, tuple[ResolvedEdge, ...]] = {}
        self._parts: dict[AppKey, set[AppKey]] = {}
        self.links = Links()

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: object) -> bool:
        return key in self._nodes

    def __iter__(self) -> Iterator[AppNode]:
        return iter(self._nodes.values())

    def get(self, key: AppKey) -> AppNode | None:
        return self._nodes.get(key)

    def on_cluster(self, cluster: str) -> frozenset[AppKey]:
        return self._index.on_cluster(cluster)

    def of_set(self, owner: SetKey) -> frozenset[AppKey]:
        return self._index.in_set(owner)

    def parts_of(self, root: AppKey) -> frozenset[AppKey]:
        """What a root Application's objects include."""
        return frozenset(self._parts.get(root, ()))

    def dependents(self, key: AppKey) -> frozenset[AppKey]:
        return frozenset(self.links.dependents(key)) if key in self.links else frozenset()

    def touching_cluster(self, cluster: str) -> set[AppKey]:
        """Whose gates may change when that cluster joins, goes Stale or comes back."""
        found = set(self.on_cluster(cluster))
        return found | self._spread(found)

    def touching_namespace(self, namespace: str) -> set[AppKey]:
        """Whose gates may change with the Project of that namespace."""
        found = set(self._index.in_namespace(namespace))
        return found | self._spread(found)

    # -- changes

    def upsert(self, node: AppNode) -> set[AppKey]:
        """Take a new or changed node. Returns the keys whose gates may have changed, itself included."""
        old = self._nodes.get(node.key)
        self._nodes[node.key] = node
        changed = {node.key}
        if old is None:
            self.links.add(node.key)
        if old is None or old.part_of != node.part_of:
            self._file_part(node.key, old.part_of if old else None, node.part_of)
        if old is None or identity(old) != identity(node):
            changed |= self._reindex(old, node)
        if old is None or old.cluster != node.cluster or old.depends_on != node.depends_on:
            changed |= self._rewatch(node)
        if old is not None and old.deleting != node.deleting:
            for key in self.links.dependents(node.key):
                self._resolved.pop(key, None)
        if old is not None and gate_view(old) != gate_view(node):
            changed |= self._spread((node.key,)) | self._held_up(node) | self._held_up(old)
        return changed

    def remove(self, key: AppKey) -> set[AppKey]:
        """Forget a node that is gone. Returns the keys whose gates may have changed, itself included."""
        node = self._nodes.get(key)
        if node is None:
            return set()
        changed = {key} | self._spread((key,)) | self._held_up(node)
        del self._nodes[key]
        self._file_part(key, node.part_of, None)
        for watch in self._index.watching(node):
            if key in self._meant[watch]:
                self._meant[watch].discard(key)
                for dependent in self._dependents[watch]:
                    self._resolved.pop(dependent, None)
        self._index.remove_node(node)
        self._drop_watches(key)
        return changed | self.links.remove(key)

    def upsert_cluster(self, view: ClusterView) -> set[AppKey]:
        """Take a cluster's labels, which edges may select by."""
        if self._cluster_labels.get(view.name) == view.labels:
            return set()
        self._cluster_labels[view.name] = dict(view.labels)
        return self._relabelled(view.name)

    def remove_cluster(self, name: str) -> set[AppKey]:
        if self._cluster_labels.pop(name, None) is None:
            return set()
        return self._relabelled(name)

    # -- questions

    def edges_of(self, key: AppKey) -> tuple[ResolvedEdge, ...]:
        """The node's dependencies, in the order in which they are declared."""
        found = self._resolved.get(key)
        if found is None:
            node = self._nodes.get(key)
            if node is None:
                return ()
            pairs = zip(node.depends_on, self._watches[key], strict=True)
            found = self._resolved[key] = tuple(self._resolve(*pair) for pair in pairs)
        return found

    def same_cycle(self, one: AppKey, other: AppKey) -> bool:
        return self.links.same_cycle(one, other)

    def cycle_of(self, key: AppKey) -> tuple[AppKey, ...]:
        """A shortest cycle through the node, from it back to it, each depending on the next; () for none."""
        return self.links.cycle_of(key)

    def cycle_text(self, key: AppKey) -> str:
        """`a@eu1 -> b@eu1 -> a@eu1`, each depending on the next."""
        return " -> ".join(title(self._nodes[each]) for each in self.cycle_of(key))

    def cycles(self) -> tuple[frozenset[AppKey], ...]:
        """Every component that waits for itself, in a fixed order."""
        return self.links.cycles()

    def order(self) -> list[list[AppKey]]:
        """Generations: each depends only on earlier ones. The members of a cycle share one."""
        return self.links.order()

    # -- the inside

    def _labels_of(self, cluster: str) -> Mapping[str, str]:
        return self._cluster_labels.get(cluster, {})

    def _file_part(self, key: AppKey, old: AppKey | None, new: AppKey | None) -> None:
        if old is not None:
            self._parts[old].discard(key)
            if not self._parts[old]:
                del self._parts[old]
        if new is not None:
            self._parts.setdefault(new, set()).add(key)

    def _reindex(self, old: AppNode | None, node: AppNode) -> set[AppKey]:
        concerned = self._index.watching(node)
        if old is not None:
            concerned |= self._index.watching(old)
            self._index.remove_node(old)
        self._index.add_node(node)
        changed: set[AppKey] = set()
        for watch in concerned:
            changed |= self._match(watch, node)
        return changed

    def _match(self, watch: Watch, node: AppNode) -> set[AppKey]:
        """Bring one pair of watch and node up to date."""
        meant = self._meant[watch]
        now = watch.accepts(node, self._labels_of(node.cluster))
        if now == (node.key in meant):
            return set()
        (meant.add if now else meant.discard)(node.key)
        changed: set[AppKey] = set()
        for dependent in self._dependents[watch]:
            self._resolved.pop(dependent, None)
            changed |= (self.links.link if now else self._unlink)(node.key, dependent)
            changed.add(dependent)
        return changed

    def _rewatch(self, node: AppNode) -> set[AppKey]:
        before = set(self.links.dependencies(node.key))
        self._drop_watches(node.key)
        watches = [self._filed(watch_of(node, each)) for each in node.depends_on]
        self._watches[node.key] = watches
        for watch in watches:
            self._dependents[watch].add(node.key)
        after = set().union(*(self._meant[watch] for watch in watches))
        changed: set[AppKey] = set()
        for key in before - after:
            changed |= self._unlink(key, node.key)
        for key in after - before:
            changed |= self.links.link(key, node.key)
        return changed

    def _filed(self, watch: Watch) -> Watch:
        """The one that means the same, filed now where none was."""
        meaning = watch.meaning
        known = self._shared.get(meaning)
        if known is not None:
            return known
        self._shared[meaning] = watch
        self._dependents[watch] = set()
        self._index.add_watch(watch)
        if watch.cluster_selector is not None:
            self._by_cluster_labels.add(watch)
        self._meant[watch] = {
            key
            for key in self._index.candidates(watch)
            if watch.accepts(other := self._nodes[key], self._labels_of(other.cluster))
        }
        return watch

    def _drop_watches(self, key: AppKey) -> None:
        self._resolved.pop(key, None)
        for watch in dict.fromkeys(self._watches.pop(key, ())):
            dependents = self._dependents[watch]
            dependents.discard(key)
            if not dependents:
                self._index.remove_watch(watch)
                self._by_cluster_labels.discard(watch)
                del self._shared[watch.meaning], self._dependents[watch], self._meant[watch]

    def _resolve(self, dependency: Dependency, watch: Watch) -> ResolvedEdge:
        meant = self._meant[watch]
        missing: tuple[str, ...] = ()
        if dependency.clusters.names:
            there = {self._nodes[key].cluster for key in meant if not self._nodes[key].deleting}
            missing = tuple(sorted(set(dependency.clusters.names) - there))
        return ResolvedEdge(dependency, tuple(sorted(meant)), missing, watch.problem)

    def _relabelled(self, cluster: str) -> set[AppKey]:
        changed: set[AppKey] = set()
        for watch in self._by_cluster_labels:
            for key in self.on_cluster(cluster):
                changed |= self._match(watch, self._nodes[key])
        return changed

    def _unlink(self, dependency: AppKey, dependent: AppKey) -> set[AppKey]:
        if any(dependency in self._meant[watch] for watch in self._watches.get(dependent, ())):
            return set()
        return self.links.unlink(dependency, dependent)

    def _held_up(self, node: AppNode) -> set[AppKey]:
        """Dependencies whose turn comes after this node's: that are being deleted, or go back, as it does."""
        if not node.deleting and not node.pinned:
            return set()
        needed = (self._nodes[key] for key in self.links.dependencies(node.key))
        return {
            each.key for each in needed if (each.deleting and node.deleting) or (each.pinned and node.pinned)
        }

    def _spread(self, keys: Iterable[AppKey]) -> set[AppKey]:
        """The direct dependents, and on through those that wait: they name the root of their wait."""
        found: set[AppKey] = set()
        queue = deque(keys)
        while queue:
            for key in self.links.dependents(queue.popleft()):
                if key not in found:
                    found.add(key)
                    waiting = self._nodes[key]
                    if waiting.released != waiting.target or waiting.target_problem:
                        queue.append(key)
        return found
