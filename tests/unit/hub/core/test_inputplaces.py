from __future__ import annotations

from typing import Any

import pytest

from hub.api.project import InputPlace
from hub.core.inputplaces import InputMisplaced, check_same, places, replaced, suspects


def app(value: str) -> list[dict[str, Any]]:
    """What a chart may make of one value, in every place."""
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"host": value}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "namespace": f"shop-{value}"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "c"},
            "subjects": [{"kind": "User", "name": value}],
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "d"},
            "spec": {
                "containers": [{"image": f"{value}.example.com/web:1"}, {"image": f"r.example.com/{value}:1"}]
            },
        },
    ]


def moved(*, allowed: Any = (), only: int | None = None) -> str:
    """What is refused, of all of it or of one object."""
    objects, others = app("evil"), app("axin")
    if only is not None:
        objects, others = [objects[only]], [others[only]]
    try:
        check_same(places(objects, allowed), places(others, allowed))
    except InputMisplaced as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("at", "says"),
    [(1, "Service/b metadata.namespace"), (2, "RoleBinding/c"), (3, "spec.containers[0].image")],
)
def test_s8_an_input_decides_about_no_namespace_rbac_or_image_host(at: int, says: str) -> None:
    assert says in moved(only=at)
    assert "spec.containers[1]" not in moved(only=at), "what is behind the host may come from anywhere"


def test_s8_a_value_may_stand_anywhere_else_and_where_the_project_says_so() -> None:
    assert moved(only=0) == ""
    assert moved(allowed=list(InputPlace)) == ""
    assert "RoleBinding" not in moved(allowed=[InputPlace.RBAC])


def test_only_what_stands_in_such_a_place_is_put_to_the_test() -> None:
    values = {"db": {"host": "evil", "port": 5432, "names": ["shop", "other"]}}
    words = suspects(values, places(app("evil")))
    assert sorted(words) == ["evil", "shop"]
    assert suspects(values, places([app("evil")[0]])) == {}
    found = replaced(values["db"], words)
    assert (found["host"], found["port"], found["names"][1]) == (words["evil"], 5432, "other")


def test_a_word_that_is_there_anyway_is_no_harm() -> None:
    objects = [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "namespace": "shop-web"}}]
    assert suspects({"name": "shop"}, places(objects))
    check_same(places(objects), places(objects))
