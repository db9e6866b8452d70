from __future__ import annotations

from typing import Any

from agent.contract.names import APPLYSET_PART_OF, LABEL_SET, applyset_id
from hub.cli.forest import Branch, grow
from hub.cli.tree import topmost

HUB_ID = "0011223344556677"


def app(
    key: str, cluster: str, *, owner: str = "", part_of: str = "", health: str = "Healthy"
) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    labels = {LABEL_SET: owner} if owner else {}
    if part_of:
        labels[APPLYSET_PART_OF] = applyset_id(HUB_ID, "hub", part_of)
    return {
        "kind": "Application",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"cluster": cluster},
        "status": {
            "sync": {"state": "Synced"},
            "health": {"state": health, "observedAt": "2030-01-01T00:00:00Z"},
        },
    }


def app_set(key: str, *, part_of: str = "") -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    labels = {APPLYSET_PART_OF: applyset_id(HUB_ID, "hub", part_of)} if part_of else {}
    return {
        "kind": "ApplicationSet",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "status": {"health": {"state": "Healthy"}, "sync": {"Synced": 1}, "children": 2},
    }


def shape(trees: list[Branch]) -> list[Any]:
    return [(tree.key, shape(list(tree.children))) if tree.children else tree.key for tree in trees]


ROOT = app("axletree-system/root", "hub")
SET = app_set("shop/shop", part_of="axletree-system/root")
CHILDREN = [app("shop/b-eu1", "eu1", owner="shop"), app("shop/a-eu1", "eu1", owner="shop")]


def test_a_root_holds_its_sets_and_they_their_children() -> None:
    extra = app("ops/extra", "eu1", part_of="axletree-system/root")
    trees = grow([*CHILDREN, extra, ROOT], [SET], hub_id=HUB_ID)
    assert shape(trees) == [
        ("axletree-system/root", [("shop/shop", ["shop/a-eu1", "shop/b-eu1"]), "ops/extra"]),
    ]


def test_what_belongs_to_no_root_stands_beside_it() -> None:
    trees = grow([ROOT, app("ops/alone", "eu1")], [app_set("dev/dev")], hub_id=HUB_ID)
    assert shape(trees) == ["axletree-system/root", "dev/dev", "ops/alone"]


def test_without_the_hubs_id_sets_stand_alone_with_their_children() -> None:
    trees = grow([*CHILDREN, ROOT], [SET], hub_id=None)
    assert shape(trees) == ["axletree-system/root", ("shop/shop", ["shop/a-eu1", "shop/b-eu1"])]


def test_a_child_whose_set_is_gone_is_still_shown() -> None:
    assert shape(grow(CHILDREN, [], hub_id=HUB_ID)) == ["shop/a-eu1", "shop/b-eu1"]


def test_a_child_belongs_to_the_set_of_its_own_namespace() -> None:
    other = app("dev/x-eu1", "eu1", owner="shop")
    assert shape(grow([other], [app_set("shop/shop")], hub_id=HUB_ID)) == ["shop/shop", "dev/x-eu1"]


def test_roots_below_roots_and_roots_in_a_circle_are_shown_once() -> None:
    inner = app("a/inner", "hub", part_of="axletree-system/root")
    assert shape(grow([ROOT, inner], [], hub_id=HUB_ID)) == [("axletree-system/root", ["a/inner"])]
    one, two = app("a/one", "hub", part_of="a/two"), app("a/two", "hub", part_of="a/one")
    keys = sorted(each.key for tree in grow([one, two], [], hub_id=HUB_ID) for each in tree.walk())
    assert keys == ["a/one", "a/two"]


def test_json_is_nested_and_says_sync_health_cluster_and_age() -> None:
    (tree,) = grow([ROOT, CHILDREN[1]], [SET], hub_id=HUB_ID)
    found = tree.to_json()
    assert found["children"][0]["sync"] == "1/2"
    assert found["children"][0]["children"] == [
        {
            "kind": "Application",
            "name": "shop/a-eu1",
            "cluster": "eu1",
            "sync": "Synced",
            "health": "Healthy",
            "observedAt": "2030-01-01T00:00:00Z",
        }
    ]


def test_of_one_namespace_the_highest_that_are_in_it() -> None:
    (root,) = grow(
        [*CHILDREN, ROOT], [SET, app_set("dev/dev", part_of="axletree-system/root")], hub_id=HUB_ID
    )
    assert shape(topmost(root, "shop")) == [("shop/shop", ["shop/a-eu1", "shop/b-eu1"])]
    assert topmost(root, "") == topmost(root, "axletree-system") == [root]
    assert topmost(root, "nowhere") == []
