from __future__ import annotations

from typing import Any

import pytest

from agent.kube.response import Listing
from hub.cli.kinds import APPS, CLUSTERS, SETS, nearest, resource_of, why
from hub.cli.names import AmbiguousName, Found, InvalidReference, candidates, missing, one_of, parse


def found(kind: Any, key: str) -> Found:
    namespace, _, name = key.partition("/")
    return Found(kind, {"kind": kind.kind, "metadata": {"namespace": namespace, "name": name}})


@pytest.mark.parametrize(
    ("text", "namespace", "kinds", "expected"),
    [
        ("web", "", (APPS, SETS), ((APPS, SETS), "", "web")),
        ("web", "shop", (APPS, SETS), ((APPS, SETS), "shop", "web")),
        ("shop/web", "", (APPS, SETS), ((APPS, SETS), "shop", "web")),
        ("shop/web", "shop", (APPS, SETS), ((APPS, SETS), "shop", "web")),
        ("appset/web", "", (APPS, SETS), ((SETS,), "", "web")),
        ("app/shop/web", "", (APPS, SETS), ((APPS,), "shop", "web")),
        ("application.axletree.dev/shop/web", "", (APPS, SETS), ((APPS,), "shop", "web")),
        ("cluster/eu1", "", (CLUSTERS,), ((CLUSTERS,), "", "eu1")),
    ],
)
def test_references(text: str, namespace: str, kinds: Any, expected: Any) -> None:
    reference = parse(text, namespace=namespace, kinds=kinds)
    assert (reference.kinds, reference.namespace, reference.name) == expected


async def test_what_why_calls_an_app_names_it() -> None:
    reference = parse("shop/web@eu1")
    assert (reference.kinds, str(reference), reference.names) == ((APPS,), "shop/web@eu1", ("web-eu1", "web"))
    (child,) = await candidates(Placed(), reference)
    assert child.obj["metadata"]["name"] == "web"
    assert await candidates(Placed(), parse("shop/web@eu2")) == []


@pytest.mark.parametrize(
    "text", ["", "/", "a/b/c/d", "thing/shop/web", "cluster/eu1", "web@", "@eu1", "appset/web@eu1"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)


def test_two_namespaces_contradict_each_other() -> None:
    with pytest.raises(InvalidReference, match="not in namespace dev"):
        parse("shop/web", namespace="dev")


def test_what_o_name_prints_can_be_given_back() -> None:
    assert str(parse("applicationset.axletree.dev/shop/web")) == "shop/web"


def test_an_ambiguous_name_lists_its_candidates() -> None:
    with pytest.raises(AmbiguousName, match="dev/web, shop/web"):
        one_of(parse("web"), [found(APPS, "shop/web"), found(APPS, "dev/web")])


def test_candidates_of_several_kinds_say_their_kind() -> None:
    with pytest.raises(AmbiguousName, match="app/shop/web, appset/shop/web"):
        one_of(parse("web"), [found(APPS, "shop/web"), found(SETS, "shop/web")])


def test_one_or_none_is_no_question() -> None:
    only = found(APPS, "shop/web")
    assert one_of(parse("web"), [only]) is only
    assert one_of(parse("web"), []) is None


def test_kinds_go_by_many_words() -> None:
    assert resource_of("Applications") is APPS
    assert resource_of("axset") is SETS
    assert resource_of("pods") is None


def test_the_nearest_names_are_offered() -> None:
    assert nearest("fronted", ["frontend", "backend"]) == "; did you mean frontend?"
    assert nearest("zzz", ["frontend"]) == ""
    both = {"frontend": "shop/frontend", "shop/frontend": "shop/frontend"}
    assert nearest("shop/fronted", both) == "; did you mean shop/frontend?"


def test_a_set_whose_rollout_stands_says_so_before_its_health() -> None:
    health = {"message": "2 of 6 Healthy"}
    status: dict[str, Any] = {
        "rollout": {"state": "Halted", "message": "wave canary: 2 failed"},
        "health": health,
    }
    assert why({"status": status}) == "rollout Halted: wave canary: 2 failed"
    status["rollout"] = {"state": "Progressing", "message": "wave canary soaks"}
    assert why({"status": status}) == "2 of 6 Healthy"


class Objects:
    """The one set `shop/web` and its child."""

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        del label_selector
        if path.endswith("/applicationsets"):
            items = [found(SETS, "shop/web").obj] if field_selector.endswith("=web") else []
        else:
            items = [] if field_selector else [found(APPS, "shop/web-eu1").obj]
        return Listing(items=items, resource_version="1")

    async def get(self, path: str) -> dict[str, Any]:
        raise NotImplementedError(path)


async def test_a_set_where_an_app_is_meant_names_its_apps() -> None:
    said = str(await missing(Objects(), parse("web", kinds=(APPS,))))
    assert said == "there is no application web; application set shop/web has shop/web-eu1"
    said = str(await missing(Objects(), parse("web-eu", kinds=(APPS,))))
    assert said == "there is no application web-eu; did you mean shop/web-eu1?"


class Placed(Objects):
    """An Application that somebody called `web`, on eu1."""

    async def list(self, path: str, *, label_selector: str = "", field_selector: str = "") -> Listing:
        del path, label_selector
        app = found(APPS, "shop/web").obj | {"spec": {"cluster": "eu1"}}
        return Listing(items=[app] if field_selector == "metadata.name=web" else [], resource_version="1")
