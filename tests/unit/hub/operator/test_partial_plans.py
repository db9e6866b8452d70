"""One cluster's change plans that cluster's children alone, and comes to what a plan of everything comes to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.effort import effort
from tests.unit.hub.operator.plan_rig import REPOSITORY, Hub

NAMES = ["k0", "k1", "k2", "k3", "k4"]
RINGS = st.sampled_from(["0", "1", "2"])
GIT = {"git": {"repoURL": REPOSITORY, "revision": "main", "directories": [{"path": "apps/*"}]}}
RING_1 = {"matchLabels": {"ring": "1"}}


def chosen(**fields: Any) -> dict[str, Any]:
    return {"clusters": fields}


GENERATORS: list[dict[str, Any]] = [
    chosen(),
    chosen(selector=RING_1),
    chosen(selector=RING_1, values={"size": "{{ cluster.labels.ring }}"}),
    chosen(names=["k1", "k2"]),
    chosen(names=["k1"], selector=RING_1),
    {**chosen(), "selector": {"matchLabels": {"cluster.labels.ring": "2"}}},
    {"matrix": {"generators": [chosen(selector=RING_1), GIT]}},
    {"matrix": {"generators": [GIT, chosen(selector={"matchLabels": {"app": "{{ path.basename }}"}})]}},
    {"matrix": {"generators": [{"list": {"elements": [{"x": "a"}, {"x": "b"}]}}, chosen(selector=RING_1)]}},
    {
        "matrix": {
            "generators": [
                {"matrix": {"generators": [chosen(), {"list": {"elements": [{"x": "a"}]}}]}},
                {"list": {"elementsYaml": "{{ cluster.values.get('extra', []) }}"}},
            ]
        }
    },
    chosen(flatList=True),
    {
        "merge": {
            "mergeKeys": ["name"],
            "generators": [chosen(), {"list": {"elements": [{"name": "k1", "y": "1"}]}}],
        }
    },
    {"list": {"elements": [{"name": "k1"}, {"name": "k4"}]}},
    {"matrix": {"generators": [{"list": {"elements": [{"x": "a"}]}}, GIT]}},
]

PARTS = "{{ (path | default({})).basename | default('p') }}-{{ x | default('x') }}-{{ name | default('n') }}"


def spec(generators: list[dict[str, Any]], *, name: str, cluster: str, labels: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = {
            "ring": "{{ cluster.labels.ring if cluster is defined and cluster.labels else 'none' }}"
        }
    sources = [
        {"repoURL": REPOSITORY, "revision": "main", "path": "{{ (path | default({})).path | default('.') }}"}
    ]
    return {
        "generators": generators,
        "template": {"metadata": metadata, "spec": {"cluster": cluster, "sources": sources}},
        "deletion": {"budget": {"max": "50%", "min": 1}},
    }


@st.composite
def specs(draw: Any, at: int) -> dict[str, Any]:
    generators = draw(st.lists(st.sampled_from(GENERATORS), min_size=1, max_size=2))
    if draw(st.sampled_from([True, True, False])):  # names of their own, but for some that will clash
        generators = [
            {**one, "template": {"metadata": {"name": f"g{number}-{PARTS}"}}}
            for number, one in enumerate(generators)
        ]
    name = draw(st.sampled_from([f"s{at}-{PARTS}", PARTS]))
    cluster = draw(
        st.sampled_from(
            [
                "{{ name | default('k0') }}",
                "{{ name | default('k0') }}",
                "{{ cluster.values.partner | default(name) if cluster is defined else 'k3' }}",
            ]
        )
    )
    return spec(generators, name=name, cluster=cluster, labels=draw(st.booleans()))


class PartsAndWholes(RuleBasedStateMachine):
    """Two hubs, one of which plans what moved, and the other everything."""

    @initialize(sets=st.tuples(specs(0), specs(1), specs(2)), rings=st.lists(RINGS, min_size=5, max_size=5))
    def begin(self, sets: tuple[dict[str, Any], ...], rings: list[str]) -> None:
        self.part, self.whole = Hub(), Hub()
        for at, one in enumerate(sets):
            note(f"s{at}: {one}")
        for hub in self.both:
            for name, ring in zip(NAMES[:4], rings, strict=False):
                hub.cluster(name, labels={"ring": ring, "app": "api"})
            for at, one in enumerate(sets):
                hub.set(f"s{at}", one)
            hub.app("byhand", "k1")
            asyncio.run(hub.plan_all())
        self.compare()

    @property
    def both(self) -> tuple[Hub, Hub]:
        return self.part, self.whole

    def compare(self) -> None:
        part, whole = self.part.snapshot(), self.whole.snapshot()
        for name, each in whole.items():
            for key in {*each, *part[name]}:
                found = part[name].get(key)
                assert found == each.get(key), f"{name}: {key}: {found} instead of {each.get(key)}"

    def later(self) -> None:
        for hub in self.both:
            hub.now += timedelta(minutes=7)

    def moved(self, *names: str) -> None:
        self.later()
        asyncio.run(self.part.plan_clusters(*names))
        asyncio.run(self.whole.plan_all())
        self.compare()

    @rule(
        name=st.sampled_from(NAMES),
        ring=RINGS,
        app=st.sampled_from(["api", "web"]),
        accepted=st.sampled_from([True, True, True, False]),
        removing=st.sampled_from([False, False, False, True]),
        values=st.sampled_from([{}, {}, {"partner": "k3"}, {"extra": [{"z": "1"}]}, {"replicas": 2}]),
    )
    def change(self, name: str, ring: str, app: str, **fields: Any) -> None:
        for hub in self.both:
            hub.cluster(name, labels={"ring": ring, "app": app}, **fields)
        self.moved(name)

    @rule(ring=RINGS, names=st.sets(st.sampled_from(NAMES), min_size=2))
    def change_many(self, ring: str, names: set[str]) -> None:
        for hub in self.both:
            for name in sorted(names):
                hub.cluster(name, labels={"ring": ring})
        self.moved(*names)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        for hub in self.both:
            hub.remove_cluster(name)
        self.moved(name)

    @rule(commit=st.sampled_from(["c2", "c3"]), name=st.sampled_from(NAMES), ring=RINGS)
    def change_beside_a_commit(self, commit: str, name: str, ring: str) -> None:
        """The commit is there before anyone asked for it: what a part reads must not be newer than the rest."""
        self.later()
        for hub in self.both:
            hub.cluster(name, labels={"ring": ring})
            asyncio.run(hub.plan_all())
            hub.git.commit = commit
            hub.git.dirs = ("apps/api", "apps/web", f"apps/{commit}")
            hub.cluster(name, labels={"ring": ring, "app": "web"})
        asyncio.run(self.part.plan_clusters(name))
        seen = self.part.snapshot()
        read = {
            key: set(each.values()) for key, each in seen["revisions"].items() if not seen["problems"][key]
        }
        assert len(set().union(*read.values())) <= 1, f"half a commit: {read}"
        for hub in self.both:
            asyncio.run(hub.plan_all())
        self.compare()

    @rule(at=st.integers(0, 2), data=st.data())
    def edit(self, at: int, data: st.DataObject) -> None:
        one = data.draw(specs(at))
        note(f"s{at}: {one}")
        for hub in self.both:
            hub.set(f"s{at}", one)
            asyncio.run(hub.plan_all())
        self.compare()


TestPartsAndWholes = PartsAndWholes.TestCase
TestPartsAndWholes.settings = effort(40, steps=12)


def hub_of(*generators: dict[str, Any], clusters: int = 4) -> Hub:
    hub = Hub()
    for at in range(clusters):
        hub.cluster(f"k{at}", labels={"ring": str(at % 2)})
    name = "{{ (path | default({})).basename | default('p') }}-{{ name }}"
    hub.set("s", spec(list(generators), name=name, cluster="{{ name }}", labels=True))
    return hub


@pytest.mark.parametrize(
    "generator",
    [chosen(), chosen(selector=RING_1), {"matrix": {"generators": [GIT, chosen()]}}],
    ids=["clusters", "selector", "matrix"],
)
async def test_only_the_rows_of_the_cluster_are_made_again(generator: dict[str, Any]) -> None:
    hub = hub_of(generator)
    await hub.plan_all()
    hub.runner.sizes.clear()
    hub.renders.calls.clear()
    hub.cluster("k1", labels={"ring": "1", "team": "red"})
    await hub.plan_clusters("k1")
    assert set(hub.runner.sizes) == {1}
    assert {key.rpartition("-")[2] for key in hub.renders.calls} == {"k1"}


async def test_a_set_that_sees_no_clusters_is_not_expanded() -> None:
    hub = hub_of({"list": {"elements": [{"name": "k1"}]}})
    await hub.plan_all()
    hub.runner.sizes.clear()
    hub.renders.calls.clear()
    hub.cluster("k2", labels={"ring": "1"})
    await hub.plan_clusters("k2")
    assert (hub.runner.sizes, hub.renders.calls) == ([], [])
    hub.cluster("k1", labels={"ring": "2"})
    await hub.plan_clusters("k1")
    assert hub.renders.calls == ["shop/p-k1"]


async def test_i1_a_relabelled_cluster_takes_its_children_within_the_budget() -> None:
    """The share is of all children, not of those that were looked at."""
    hub = hub_of(chosen(selector={"matchLabels": {"ring": "0"}}), clusters=8)
    await hub.plan_all()
    hub.cluster("k0", labels={"ring": "9"})
    await hub.plan_clusters("k0")
    plan = hub.snapshot()["plans"]["shop/s"]
    assert (plan["counts"], plan["held"]) == (
        {"children": 3, "added": 0, "changed": 0, "removed": 1, "held": 0},
        [],
    )
    for name in ("k2", "k4"):
        hub.cluster(name, labels={"ring": "9"})
    await hub.plan_clusters("k2", "k4")
    plan = hub.snapshot()["plans"]["shop/s"]
    assert [each["app"] for each in plan["held"]] == ["shop/p-k2", "shop/p-k4"]
    hub.cluster("k6", labels={"ring": "0", "team": "red"})
    await hub.plan_clusters("k6")
    assert hub.snapshot()["plans"]["shop/s"]["held"] == plan["held"], "what is Held stays Held"


async def test_an_error_in_one_row_freezes_the_whole_set() -> None:
    hub = hub_of(chosen(values={"size": "{{ cluster.labels.size | default('x') | int + 1 }}"}))
    hub.set(
        "s",
        spec([chosen()], name="p-{{ cluster.labels.ring }}-{{ name }}", cluster="{{ name }}", labels=True),
    )
    await hub.plan_all()
    before = hub.snapshot()
    hub.cluster("k1", labels={})
    await hub.plan_clusters("k1")
    after = hub.snapshot()
    assert after["problems"]["shop/s"][0] == "TemplateError"
    assert (after["children"], after["plans"]) == (before["children"], before["plans"])
