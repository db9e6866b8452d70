"""Which nodes a dependency means, found from both sides by one index.

Every node is filed under a few *anchors* (its set, its label pairs, its namespace; each for its cluster and
for any cluster), and every dependency watches the anchors that whatever it means must have. So a dependency
finds its nodes, and a new node the dependencies that mean it, without looking at the rest of the fleet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from agent.kube.selectors import Operator, Selector, SelectorError, parse_selector
from hub.api.dependency import Scope
from hub.api.model import LabelSelector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hub.api.dependency import Dependency
    from hub.core.model import AppKey, AppNode

Anchor = tuple[str, ...]
T = TypeVar("T")
_ANY = "*"
"""Not a valid cluster name, so that it never meets one."""


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What a dependency means, ready to match; nodes whose dependencies mean the same share one. By identity."""

    namespace: str
    key: AppKey | None
    owner: str | None
    selector: Selector | None
    clusters: frozenset[str] | None
    """Only there; None: not restricted by name."""
    cluster_selector: Selector | None
    problem: str = ""
    """Why it can mean nothing at all (a selector that does not read)."""

    @property
    def meaning(self) -> tuple[object, ...]:
        """Equal for all that mean the same."""
        return (
            self.namespace,
            self.key,
            self.owner,
            self.selector,
            self.clusters,
            self.cluster_selector,
            self.problem,
        )

    def accepts(self, node: AppNode, cluster_labels: Mapping[str, str]) -> bool:
        """Whether `node`, on a cluster with these labels, is one of those meant."""
        if self.problem or node.namespace != self.namespace:
            return False
        if self.clusters is not None and node.cluster not in self.clusters:
            return False
        if self.cluster_selector is not None and not self.cluster_selector.matches(cluster_labels):
            return False
        if self.key is not None:
            return node.key == self.key
        if self.owner is not None:
            return node.owner == self.owner
        return self.selector is not None and self.selector.matches(node.labels)


def watch_of(node: AppNode, dependency: Dependency) -> Watch:
    """One of the node's dependencies, compiled."""
    namespace = dependency.namespace or node.namespace
    where = dependency.clusters
    clusters: frozenset[str] | None = None
    if where.scope is Scope.SAME:
        clusters = frozenset((node.cluster,))
    elif where.names:
        clusters = frozenset(where.names)
    selector = cluster_selector = None
    problem = ""
    try:
        selector = _parse(dependency.selector)
        cluster_selector = _parse(where.selector)
    except SelectorError as error:
        problem = str(error)
    return Watch(
        namespace=namespace,
        key=f"{namespace}/{dependency.name}" if dependency.name else None,
        owner=f"{namespace}/{dependency.application_set}" if dependency.application_set else None,
        selector=selector,
        clusters=clusters,
        cluster_selector=cluster_selector,
        problem=problem,
    )


class AnchorIndex:
    """Nodes and watches by anchor."""

    def __init__(self) -> None:
        self._nodes: dict[Anchor, AppKey | set[AppKey]] = {}
        self._watches: dict[Anchor, Watch | set[Watch]] = {}
        self._filed: dict[Watch, tuple[Anchor, ...]] = {}

    def add_node(self, node: AppNode) -> None:
        for anchor in _anchors(node):
            _put(self._nodes, anchor, node.key)

    def remove_node(self, node: AppNode) -> None:
        for anchor in _anchors(node):
            _discard(self._nodes, anchor, node.key)

    def add_watch(self, watch: Watch) -> None:
        anchors = self._anchors_of(watch)
        self._filed[watch] = anchors
        for anchor in anchors:
            _put(self._watches, anchor, watch)

    def remove_watch(self, watch: Watch) -> None:
        for anchor in self._filed.pop(watch):
            _discard(self._watches, anchor, watch)

    def candidates(self, watch: Watch) -> Iterator[AppKey]:
        """Nodes that a filed watch may mean; `accepts` decides. May repeat."""
        for anchor in self._filed[watch]:
            yield from _all(self._nodes, anchor)

    def watching(self, node: AppNode) -> set[Watch]:
        """The watches that may mean this node; `accepts` decides."""
        found: set[Watch] = set()
        for anchor in _anchors(node):
            found |= _all(self._watches, anchor)
        return found

    def in_namespace(self, namespace: str) -> frozenset[AppKey]:
        return frozenset(_all(self._nodes, (_ANY, "namespace", namespace)))

    def in_set(self, owner: str) -> frozenset[AppKey]:
        return frozenset(_all(self._nodes, (_ANY, "set", owner)))

    def on_cluster(self, cluster: str) -> frozenset[AppKey]:
        return frozenset(_all(self._nodes, ("cluster", cluster)))

    def _anchors_of(self, watch: Watch) -> tuple[Anchor, ...]:
        """The narrowest anchors that cover everything it can mean."""
        if watch.problem:
            return ()
        clusters: Iterable[str] = (_ANY,) if watch.clusters is None else sorted(watch.clusters)
        if watch.key is not None:
            return (("name", watch.key),)
        if watch.owner is not None:
            terms: list[Anchor] = [("set", watch.owner)]
        else:
            terms = self._narrowest(watch)
        return tuple((cluster, *term) for cluster in clusters for term in terms)

    def _narrowest(self, watch: Watch) -> list[Anchor]:
        """Of the requirements that name values, the one that fewest nodes have now."""
        options: list[list[Anchor]] = [
            [("label", watch.namespace, each.key, value) for value in dict.fromkeys(each.values)]
            for each in (watch.selector.requirements if watch.selector else ())
            if each.operator is Operator.IN
        ]
        if not options:
            return [("namespace", watch.namespace)]
        return min(options, key=lambda terms: sum(len(_all(self._nodes, (_ANY, *t))) for t in terms))


def _anchors(node: AppNode) -> Iterator[Anchor]:
    yield ("cluster", node.cluster)
    yield ("name", node.key)
    for cluster in (node.cluster, _ANY):
        yield (cluster, "namespace", node.namespace)
        if node.owner is not None:
            yield (cluster, "set", node.owner)
        for key, value in node.labels.items():
            yield (cluster, "label", node.namespace, key, value)


def _put(index: dict[Anchor, T | set[T]], anchor: Anchor, value: T) -> None:
    """Most anchors have one entry, and a set around it would be most of the index."""
    found = index.get(anchor)
    if found is None:
        index[anchor] = value
    elif isinstance(found, set):
        found.add(value)
    elif found != value:
        index[anchor] = {found, value}


def _all(index: dict[Anchor, T | set[T]], anchor: Anchor) -> set[T]:
    found = index.get(anchor)
    if found is None:
        return set()
    return found if isinstance(found, set) else {found}


def _discard(index: dict[Anchor, T | set[T]], anchor: Anchor, value: T) -> None:
    found = index.get(anchor)
    if isinstance(found, set):
        found.discard(value)
    if not found or found == value:
        index.pop(anchor, None)


def _parse(selector: LabelSelector | None) -> Selector | None:
    return None if selector is None else _parse_text(selector.model_dump_json(by_alias=True))


@lru_cache(maxsize=4096)
def _parse_text(text: str) -> Selector:
    """Children of one set carry equal selectors: each distinct one is read once."""
    return parse_selector(LabelSelector.model_validate_json(text).to_json())
