from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.history.appindex import FACETS, MAX_FACET, AppFilter, AppIndex, Entry
from hub.history.postings import Postings, walk

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
ENTRIES = st.builds(
    Entry,
    key=st.builds("{}/{}".format, NAMES, NAMES),
    facets=st.tuples(*(NAMES for _ in FACETS)),
    labels=st.dictionaries(NAMES, NAMES, max_size=3),
    words=st.text("abc x", max_size=8),
)
SOME = st.lists(NAMES, max_size=2)
FILTERS = st.builds(
    AppFilter,
    namespaces=SOME,
    clusters=SOME,
    owners=SOME,
    health=SOME,
    sync=SOME,
    labels=st.lists(st.tuples(NAMES, st.one_of(st.none(), NAMES)), max_size=2),
    text=st.text("abc X", max_size=4),
    visible=st.one_of(st.none(), SOME),
)


def meant(entry: Entry, wanted: AppFilter) -> bool:
    """The same question, asked of one Application."""
    health, sync, cluster, owner, namespace = entry.facets
    return (
        (not wanted.health or health in wanted.health)
        and (not wanted.sync or sync in wanted.sync)
        and (not wanted.clusters or cluster in wanted.clusters)
        and (not wanted.owners or owner in wanted.owners)
        and (not wanted.namespaces or namespace in wanted.namespaces)
        and (wanted.visible is None or namespace in wanted.visible)
        and all(
            key in entry.labels if value is None else entry.labels.get(key) == value
            for key, value in wanted.labels
        )
        and all(word in entry.words for word in wanted.text.lower().split())
    )


@settings(max_examples=150, deadline=None)
@given(
    first=st.lists(ENTRIES, max_size=12, unique_by=lambda each: each.key),
    steps=st.lists(st.one_of(ENTRIES, st.builds("{}/{}".format, NAMES, NAMES)), max_size=25),
    wanted=FILTERS,
    after=st.one_of(st.just(""), st.builds("{}/{}".format, NAMES, NAMES)),
    limit=st.integers(1, 8),
)
def test_the_index_says_what_looking_at_each_application_says(
    first: list[Entry], steps: list[Entry | str], wanted: AppFilter, after: str, limit: int
) -> None:
    index, there = AppIndex(), {each.key: each for each in first}
    index.load(first)
    index.matching(wanted)  # what was asked for once is kept up to date
    for step in steps:
        if isinstance(step, str):
            index.drop(step)
            there.pop(step, None)
        else:
            index.put(step)
            there[step.key] = step
    assert len(index) == len(there)
    chosen = {key: entry for key, entry in there.items() if meant(entry, wanted)}
    places = index.matching(wanted)
    assert places.bit_count() == len(chosen)
    assert (
        index.page(places, after=after, limit=limit) == sorted(key for key in chosen if key > after)[:limit]
    )
    for at, name in enumerate(FACETS):
        assert index.facets(places)[name] == Counter(each.facets[at] for each in chosen.values())


def test_many_applications_are_found_as_few_are() -> None:
    """With lists of places that became bits, pages that go by the order of all, values that are too many to count."""
    index, size = AppIndex(), 9000
    index.load(
        Entry(
            f"shop/{at:05}",
            ("Degraded" if at % 10 == 0 else "Healthy", "Synced", f"c{at % 200}", f"shop/s{at % 3}", "shop"),
            {"id": str(at)},
            f"shop/{at:05}",
        )
        for at in reversed(range(size))
    )
    well = index.matching(AppFilter(health=["Healthy"]))
    assert well.bit_count() == 8100
    assert index.page(well, after="shop/08980", limit=3) == ["shop/08981", "shop/08982", "shop/08983"]
    assert index.page(well, after="shop/08998", limit=3) == ["shop/08999"]
    counts = index.facets(well)
    assert counts["health"] == {"Healthy": 8100}
    assert counts["owner"] == {f"shop/s{each}": 2700 for each in range(3)}
    assert (len(counts["cluster"]), sum(counts["cluster"].values())) == (MAX_FACET, 45 * MAX_FACET)
    assert index.page(index.matching(AppFilter(labels=[("id", "77")])), after="", limit=9) == ["shop/00077"]
    assert index.matching(AppFilter(text="0007")).bit_count() == 11
    for at in range(0, size, 10):
        index.drop(f"shop/{at:05}")
    assert index.matching(AppFilter()) == well
    assert index.by_namespace == {"shop": 8100}


@pytest.mark.parametrize("few", [0, 2, 100])
def test_places_are_the_same_as_lists_and_as_bits(few: int) -> None:
    found = Postings(few=few)
    for place in (9, 3, 70):
        found.add("a", place)
    found.add("b", 4)
    assert list(walk(found.having(["a", "b", "none"]))) == [3, 4, 9, 70]
    found.remove("a", 9)
    found.remove("b", 4)
    assert (list(walk(found.having(["a"]))), dict(found.counts)) == ([3, 70], {"a": 2})
