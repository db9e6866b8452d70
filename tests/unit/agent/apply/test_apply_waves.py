from __future__ import annotations

from typing import Any

import pytest

from agent.apply.errors import DependsOnCycle, ObjectInvalid
from agent.apply.prepare import Desired, prepare
from agent.apply.waves import DEPENDS_ON, steps
from agent.contract.manifest import ref_of

OURS, ARGO = "axletree.dev/wave", "argocd.argoproj.io/sync-wave"


def item(name: str, **annotations: str) -> Desired:
    keys = {"ours": OURS, "argo": ARGO, "after": DEPENDS_ON}
    metadata: dict[str, Any] = {"name": name, "namespace": "shop"}
    metadata["annotations"] = {keys[key]: value for key, value in annotations.items()}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return prepare(obj, ref=ref_of(obj), applyset="set", app="shop/web")


def on(*names: str) -> str:
    return ", ".join(f"/namespaces/shop/ConfigMap/{name}" for name in names)


def order(*items: Desired) -> list[list[str]]:
    return [[each.ref.name for each in step] for step in steps(items)]


def test_without_annotations_there_is_one_step() -> None:
    assert order(item("a"), item("b")) == [["a", "b"]]
    assert order(item("a", ours="3"), item("b", ours="3")) == [["a", "b"]]


def test_waves_are_numbers_ours_or_of_argo_cd() -> None:
    found = order(
        item("late", ours="5"), item("first", argo="-1"), item("none"), item("both", ours="5", argo="-9")
    )
    assert found == [["first"], ["none"], ["late", "both"]]


def test_depends_on_puts_what_is_needed_first() -> None:
    assert order(item("a", after=on("b", "c")), item("b", after=on("c")), item("c")) == [["c"], ["b"], ["a"]]


def test_what_is_needed_comes_first_also_from_a_later_wave() -> None:
    assert order(item("a", after=on("b")), item("b", ours="2"), item("c", ours="1")) == [["c"], ["b"], ["a"]]


@pytest.mark.parametrize(
    "broken",
    [
        {"ours": "first"},
        {"argo": "1.5"},
        {"ours": str(2**40)},
        {"after": "ConfigMap b"},
        {"after": on("nosuch")},
    ],
)
def test_an_annotation_that_does_not_read_is_refused(broken: dict[str, str]) -> None:
    with pytest.raises(ObjectInvalid):
        order(item("a", **broken), item("b"))


def test_a_circle_is_told_with_its_path() -> None:
    with pytest.raises(DependsOnCycle, match=" -> ") as caught:
        order(item("a", after=on("b")), item("b", after=on("a")))
    path = str(caught.value).partition(": ")[2].split(" -> ")
    assert path[0] == path[-1]
    assert {"ConfigMap shop/a", "ConfigMap shop/b"} == set(path)
