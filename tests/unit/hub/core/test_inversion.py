"""Waves against edges, of one set and of several: what is kept says what a search over all of it says."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from hub.api.dependency import Dependency
from hub.core.graph import AppGraph
from hub.core.inversion import WaveGraph, inversions
from hub.core.model import AppNode
from tests.effort import effort

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ["canary", "early", "fleet"]
SETS = ["shop/a", "shop/b", "shop/c"]


def on(name: str) -> Dependency:
    return Dependency.model_validate({"name": name, "clusters": {"scope": "All"}, "optional": True})


def graph_of(edges: Mapping[str, list[str]], *, owners: Mapping[str, str]) -> AppGraph:
    """Each app on a cluster of its own, with the apps that it waits for."""
    graph = AppGraph()
    for name, waits in edges.items():
        graph.upsert(
            AppNode(f"shop/{name}", f"on-{name}", owner=owners.get(name), depends_on=tuple(map(on, waits)))
        )
    return graph


def found_in(edges: Mapping[str, list[str]], waves: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    graph = graph_of(edges, owners={name: owner for name, (owner, _) in waves.items()})
    by_set: dict[str, tuple[dict[str, int], list[str]]] = {}
    for name, (owner, index) in waves.items():
        by_set.setdefault(owner, ({}, NAMES))[0][f"shop/{name}"] = index
    return {key.partition("/")[2]: words for key, words in inversions(graph, by_set).items()}


def test_two_sets_whose_waves_and_edges_contradict_each_other_are_named_with_the_path() -> None:
    """No child waits for a later wave of its own set by edges alone: it takes the waves of both."""
    found = found_in(
        {"a0": ["b1"], "a1": [], "b0": ["a1"], "b1": []},
        {"a0": ("shop/a", 0), "a1": ("shop/a", 1), "b0": ("shop/b", 0), "b1": ("shop/b", 1)},
    )
    assert found == {
        "a0": "wave canary would wait for wave early, which comes later: "
        "a0@on-a0 (canary) -> b1@on-b1 (early of shop/b) -> b0@on-b0 (canary of shop/b) -> a1@on-a1 (early)",
        "b0": "wave canary would wait for wave early, which comes later: "
        "b0@on-b0 (canary) -> a1@on-a1 (early of shop/a) -> a0@on-a0 (canary of shop/a) -> b1@on-b1 (early)",
    }


def test_waves_that_only_wait_for_each_other_in_turn_are_none() -> None:
    found = found_in(
        {"a0": [], "a1": ["b0"], "b0": ["a0"], "b1": ["a1"]},
        {"a0": ("shop/a", 0), "a1": ("shop/a", 1), "b0": ("shop/b", 0), "b1": ("shop/b", 1)},
    )
    assert found == {}


def test_only_the_clusters_that_contradict_are_held() -> None:
    """The sets alone look as if they did; the children of other clusters go on."""
    waves = {f"{name}{at}": (f"shop/{name}", at % 2) for name in "ab" for at in range(6)}
    edges: dict[str, list[str]] = {name: [] for name in waves}
    edges["a0"], edges["b4"] = ["b1"], ["a3"]
    assert set(found_in(edges, waves)) == {"a0", "b4"}
    edges["b4"] = ["a2"]
    assert found_in(edges, waves) == {}


def brute(edges: set[tuple[str, str]], waves: Mapping[str, tuple[str, int]]) -> set[str]:
    """Children from which a later wave of their set is reached, their own and earlier ones aside."""
    found = set()
    for start, (owner, index) in waves.items():
        seen: set[object] = set()
        queue: deque[object] = deque([start])
        while queue:
            for each in _waited_for(queue.popleft(), edges, waves):
                own = isinstance(each, tuple) and each[0] == owner
                if own and each[1] > index:  # type: ignore[index]
                    found.add(start)
                if each not in seen and not own:
                    seen.add(each)
                    queue.append(each)
    return found


def _waited_for(
    what: object, edges: set[tuple[str, str]], waves: Mapping[str, tuple[str, int]]
) -> list[object]:
    if isinstance(what, tuple):  # a wave: the children of those before
        return [name for name, (owner, index) in waves.items() if owner == what[0] and index < what[1]]
    found: list[object] = [other for waits, other in edges if waits == what]
    place = waves.get(str(what))
    if place is not None and any(owner == place[0] and index < place[1] for owner, index in waves.values()):
        found.append(place)
    return found


APPS = [f"n{at}" for at in range(9)]
PLACES = st.dictionaries(
    st.sampled_from(APPS), st.tuples(st.sampled_from(SETS), st.integers(0, 2)), min_size=3
)
EDGES = st.sets(st.tuples(st.sampled_from(APPS), st.sampled_from(APPS)), max_size=10)


@effort(150)
@given(steps=st.lists(st.tuples(PLACES, EDGES), min_size=1, max_size=4))
def test_what_is_kept_is_what_a_search_finds(
    steps: list[tuple[dict[str, tuple[str, int]], set[tuple[str, str]]]],
) -> None:
    graph = AppGraph()
    kept = WaveGraph(graph)
    graph.links.subscribe(kept.linked)
    there: set[str] = set()
    for waves, edges in steps:
        now = set(waves) | {each for edge in edges for each in edge}
        for name in sorted(there - now):
            kept.place(f"shop/{name}", None)
            graph.remove(f"shop/{name}")
        there = now
        for name in sorted(now):
            owner = waves[name][0] if name in waves else None
            depends_on = tuple(on(other) for waits, other in sorted(edges) if waits == name)
            before = graph.get(f"shop/{name}") or AppNode(f"shop/{name}", f"on-{name}")
            graph.upsert(replace(before, owner=owner, depends_on=depends_on))
            kept.place(f"shop/{name}", waves.get(name))
        found = kept.inverted(dict.fromkeys(SETS, NAMES))
        assert {key.partition("/")[2] for key in found} == brute(edges, waves)
        by_set = {
            owner: ({f"shop/{n}": i for n, (o, i) in waves.items() if o == owner}, NAMES) for owner in SETS
        }
        assert inversions(graph, by_set) == found
