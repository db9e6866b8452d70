"""The plan against a small model of an API server: what it applied, it does not want to apply again."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.apply.inventory import EMPTY, Entry, Inventory
from agent.apply.plan import Fate, Memory, Step, Unseen, plan_object, prune_verdict, to_prune
from agent.apply.prepare import Desired, identity, prepare
from agent.contract.manifest import ObjectRef
from agent.contract.names import ANNOTATION_KEEP, APPLYSET_PART_OF
from tests.effort import effort

MANAGER, APPLYSET = "axletree-test", "applyset-x-v1"


def desired_of(obj: dict[str, Any]) -> Desired:
    return prepare(obj, ref=identity(obj), applyset=APPLYSET, app="ns/app")


def field_set(value: Any) -> dict[str, Any]:
    """FieldsV1 of an applied value: maps by field, lists of named items by name, all else as a whole."""
    if isinstance(value, dict) and value:
        return {f"f:{key}": field_set(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {"k:" + json.dumps({"name": item["name"]}): {".": {}, **field_set(item)} for item in value}
    return {}


def merge(live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict) and wanted:
        return {**live, **{key: merge(live.get(key), value) for key, value in wanted.items()}}
    return copy.deepcopy(wanted)


def remove(live: Any, fields: dict[str, Any], kept: dict[str, Any]) -> None:
    """Drop from live what was owned and is not any more (maps only: lists are replaced whole here)."""
    for key, sub in fields.items():
        name = key[2:]
        if not key.startswith("f:") or not isinstance(live, dict) or name not in live:
            continue
        if key not in kept:
            del live[name]
        elif sub and any(child.startswith("f:") for child in sub):
            remove(live[name], sub, kept[key])


@dataclass
class Server:
    """Enough of server-side apply for one manager, plus defaults that nobody asked for."""

    objects: dict[ObjectRef, dict[str, Any]] = field(default_factory=dict)
    version: int = 0
    writes: int = 0

    def apply(self, desired: Desired) -> dict[str, Any]:
        self.version += 1
        wanted = copy.deepcopy(desired.manifest)
        fields = field_set({key: value for key, value in wanted.items() if key not in {"apiVersion", "kind"}})
        for name in ("f:name", "f:namespace"):
            fields["f:metadata"].pop(name, None)
        old = self.objects.get(desired.ref)
        live = copy.deepcopy(old) if old else {"metadata": {"uid": f"uid-{self.version}"}, "defaulted": True}
        if old:
            remove(live, old["metadata"]["managedFields"][0]["fieldsV1"], fields)
        live = merge(live, wanted)
        live["metadata"]["resourceVersion"] = str(self.version)
        live["metadata"]["managedFields"] = [{"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}]
        self.objects[desired.ref] = live
        self.writes += 1
        return live

    def touch(self, ref: ObjectRef) -> None:
        """Somebody else writes what is theirs."""
        self.version += 1
        live = copy.deepcopy(self.objects[ref])
        live["status"] = {"seen": self.version}
        live["metadata"]["resourceVersion"] = str(self.version)
        self.objects[ref] = live


@dataclass
class Agent:
    server: Server
    memory: dict[ObjectRef, Memory] = field(default_factory=dict)
    inventory: Inventory = EMPTY

    def plan(self, bundle: list[Desired], *, watched: bool) -> dict[ObjectRef, Step | Fate]:
        """What would be done; reads are answered at once."""
        steps: dict[ObjectRef, Step | Fate] = {}
        for item in bundle:
            entry, memory = self.inventory.entries.get(item.ref), self.memory.get(item.ref)
            known = self.server.objects.get(item.ref, Unseen.ABSENT)
            live = known if watched else Unseen.UNKNOWN
            step = plan_object(item, live=live, memory=memory, entry=entry, manager=MANAGER)
            if step is Step.READ:
                memory = None if known is Unseen.ABSENT else memory
                step = plan_object(item, live=known, memory=memory, entry=entry, manager=MANAGER)
            if step is not Step.KEEP:
                steps[item.ref] = step
        gone, _ = to_prune(self.inventory.entries.keys(), wanted={item.ref for item in bundle})
        for ref in gone:
            live = self.server.objects[ref]
            verdict = prune_verdict(self.inventory.entries[ref], live, applyset=APPLYSET, manager=MANAGER)
            steps[ref] = verdict.fate
        return steps

    def carry_out(self, bundle: list[Desired], *, watched: bool) -> None:
        wanted = {item.ref: item for item in bundle}
        for ref, step in self.plan(bundle, watched=watched).items():
            if step is Step.WRITE:
                live = self.server.apply(wanted[ref])
                self.memory[ref] = Memory.of(wanted[ref].digest, live, MANAGER)
                self.inventory = self.inventory.updated([Entry(ref, "v1", live["metadata"]["uid"])])
            elif step is Fate.DELETE:
                del self.server.objects[ref]
                self.memory.pop(ref, None)
                self.inventory = self.inventory.without([ref])


NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from(["x", "1000m", ""]))
NAMED = st.lists(
    st.fixed_dictionaries({"name": NAMES, "port": st.integers(1, 3)}),
    max_size=3,
    unique_by=lambda item: item["name"],
)
VALUES = st.recursive(
    st.one_of(SCALARS, st.lists(SCALARS, max_size=3), NAMED),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.builds(
    lambda name, spec, labels: {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    },
    NAMES,
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.dictionaries(NAMES, st.sampled_from(["x", "y"]), max_size=2),
)
BUNDLES = st.lists(OBJECTS, max_size=3, unique_by=lambda obj: obj["metadata"]["name"]).map(
    lambda objects: [desired_of(obj) for obj in objects]
)


@effort(150)
@given(
    history=st.lists(BUNDLES, min_size=1, max_size=3),
    watched=st.booleans(),
    restarted=st.booleans(),
    touched=st.booleans(),
)
def test_a9_plan_of_applied_plan_is_nothing(
    history: list[list[Desired]], *, watched: bool, restarted: bool, touched: bool
) -> None:
    agent = Agent(Server())
    for bundle in history:
        agent.carry_out(bundle, watched=watched)
    if restarted:
        agent.memory.clear()
    if touched:
        for ref in list(agent.server.objects):
            agent.server.touch(ref)
    last = history[-1]
    if not restarted:
        assert agent.plan(last, watched=watched) == {}
    else:
        # A fresh process may ask once about what values alone cannot say, and writes no change.
        agent.carry_out(last, watched=watched)
        assert agent.plan(last, watched=watched) == {}
    assert agent.server.objects.keys() == {item.ref for item in last} == agent.inventory.entries.keys()


@effort(100)
@given(BUNDLES, st.data())
def test_a_change_of_what_we_own_is_always_noticed(bundle: list[Desired], data: st.DataObject) -> None:
    agent = Agent(Server())
    agent.carry_out(bundle, watched=True)
    if not bundle:
        return
    item = data.draw(st.sampled_from(bundle))
    live = copy.deepcopy(agent.server.objects[item.ref])
    live["metadata"]["labels"][APPLYSET_PART_OF] = "other"
    live["metadata"]["resourceVersion"] = str(agent.server.version + 1)
    agent.server.objects[item.ref] = live
    assert agent.plan(bundle, watched=True) == {item.ref: Step.WRITE}
    agent.memory.clear()
    assert agent.plan(bundle, watched=True)[item.ref] is Step.WRITE


def thing(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec}


def step(item: Desired, live: Any, **known: Any) -> Step:
    return plan_object(item, live=live, memory=known.get("memory"), entry=known.get("entry"), manager=MANAGER)


def test_what_nobody_knows_is_written_and_what_the_inventory_names_is_read_first() -> None:
    item = desired_of(thing(a=1))
    assert step(item, Unseen.UNKNOWN) is Step.WRITE
    assert step(item, Unseen.UNKNOWN, entry=Entry(item.ref, "v1", "u")) is Step.READ
    assert step(item, Unseen.ABSENT, entry=Entry(item.ref, "v1", "u")) is Step.WRITE


def test_a_view_that_lags_behind_our_own_write_is_not_believed() -> None:
    server, item = Server(), desired_of(thing(a=1))
    old = server.apply(item)
    changed = desired_of(thing(a=2))
    memory = Memory.of(changed.digest, server.apply(changed), MANAGER)
    assert step(changed, old, memory=memory) is Step.KEEP
    assert step(changed, Unseen.ABSENT, memory=memory) is Step.READ


def test_what_is_being_deleted_is_waited_for() -> None:
    server, item = Server(), desired_of(thing(a=1))
    live = server.apply(item)
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert step(item, live) is Step.WAIT


def test_an_object_made_again_is_written_although_its_content_is_remembered() -> None:
    server, item = Server(), desired_of(thing(a=1))
    memory = Memory.of(item.digest, server.apply(item), MANAGER)
    foreign = {**thing(a=1), "metadata": {"name": "a", "uid": "new", "resourceVersion": "1"}}
    assert step(item, foreign, memory=memory) is Step.WRITE


def test_a25_a_job_that_completed_for_this_content_is_done() -> None:
    job = desired_of({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {}})
    entry = Entry(job.ref, "v1", "u", done=job.digest)
    assert step(job, Unseen.ABSENT, entry=entry) is Step.DONE
    assert step(job, Unseen.UNKNOWN, entry=entry) is Step.READ
    assert step(job, Unseen.ABSENT, entry=Entry(job.ref, "v1", "u", done="other")) is Step.WRITE


def live_member(**changes: Any) -> dict[str, Any]:
    live = Server().apply(desired_of(thing(a=1)))
    live["metadata"].update(changes)
    return live


@pytest.mark.parametrize(
    ("uid", "changes", "fate", "reason"),
    [
        ("uid-1", {}, Fate.DELETE, ""),
        ("", {}, Fate.DELETE, ""),
        ("uid-0", {}, Fate.FORGET, "Recreated"),
        ("uid-1", {"labels": {APPLYSET_PART_OF: "other"}}, Fate.FORGET, "NotOurs"),
        ("uid-1", {"labels": {}}, Fate.FORGET, "NotOurs"),
        ("uid-1", {"annotations": {ANNOTATION_KEEP: "true"}}, Fate.RELEASE, "Kept"),
        ("uid-1", {"annotations": {ANNOTATION_KEEP: "false"}}, Fate.DELETE, ""),
    ],
)
def test_prune_verdicts(uid: str, changes: dict[str, Any], fate: Fate, reason: str) -> None:
    live = live_member(**changes)
    entry = Entry(ObjectRef("example.com", "Thing", "", "a"), "v1", uid)
    verdict = prune_verdict(entry, live, applyset=APPLYSET, manager=MANAGER)
    assert (verdict.fate, verdict.reason) == (fate, reason)


def test_a8_one_object_under_two_groups_is_not_pruned() -> None:
    entry = Entry(ObjectRef("extensions", "Thing", "", "a"), "v1beta1", "uid-1")
    verdict = prune_verdict(entry, live_member(), applyset=APPLYSET, manager=MANAGER, applied_uids={"uid-1"})
    assert (verdict.fate, verdict.reason) == (Fate.FORGET, "SameObject")


@pytest.mark.parametrize("name", ["default", "kube-system", "axletree-agent"])
def test_namespaces_of_the_cluster_itself_are_never_deleted(name: str) -> None:
    entry = Entry(ObjectRef("", "Namespace", "", name), "v1")
    verdict = prune_verdict(entry, live_member(), applyset=APPLYSET, manager=MANAGER)
    assert (verdict.fate, verdict.reason) == (Fate.RELEASE, "Protected")


def test_a42_what_another_app_wants_is_not_looked_at() -> None:
    mine, moved = ObjectRef("", "ConfigMap", "n", "a"), ObjectRef("", "ConfigMap", "n", "b")
    assert to_prune({mine, moved}, wanted=set(), elsewhere={moved}) == (frozenset({mine}), frozenset({moved}))
