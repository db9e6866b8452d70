"""Whom a webhook wakes."""

from __future__ import annotations

from typing import Any

import pytest

from hub.hosts.events import Event
from hub.operator.webhooks import asks, concerns

PUSH = Event(
    "github",
    frozenset({"git.example.com/shop/apps"}),
    frozenset({"shop/apps"}),
    frozenset({"refs/heads/main", "refs/tags/v1.2.0"}),
)
REQUEST = Event("github", PUSH.repositories, PUSH.names, pushed=False)
REPO = "https://git.example.com/shop/apps"


@pytest.mark.parametrize(
    ("address", "revision", "wakes"),
    [
        (REPO, "main", True),
        (f"{REPO}.git", "refs/heads/main", True),
        ("git@git.example.com:shop/apps", "v1.2.0", True),
        (REPO, "HEAD", True),
        (REPO, "", True),
        (REPO, "^1.0", True),
        (REPO, "release", False),
        (REPO, "mai", False),
        (REPO, "a" * 40, False),
        ("https://git.example.com/shop/apps-old", "main", False),
        ("https://other.example.com/shop/apps", "main", False),
        ("https://charts.example.com/shop#web", "*", False),
    ],
)
def test_only_what_reads_that_branch_is_concerned(address: str, revision: str, *, wakes: bool) -> None:
    assert concerns(address, revision, PUSH) is wakes
    assert not concerns(address, revision, REQUEST)


def test_a_push_that_names_no_ref_concerns_all_of_the_repository() -> None:
    event = Event("github", PUSH.repositories)
    assert concerns(REPO, "release", event)


def _set(*generators: dict[str, Any]) -> dict[str, Any]:
    return {"generators": list(generators)}


@pytest.mark.parametrize(
    ("generator", "push", "request_"),
    [
        ({"pullRequest": {"github": {"owner": "Shop", "repo": "apps"}}}, False, True),
        ({"pullRequest": {"github": {"owner": "shop", "repo": "other"}}}, False, False),
        ({"pullRequest": {"github": {"owner": "shop", "repo": "{{ name }}"}}}, False, True),
        ({"pullRequest": {"gitea": {"owner": "shop", "repo": "apps"}}}, False, False),
        ({"scmProvider": {"github": {"organization": "shop"}}}, True, True),
        ({"scmProvider": {"github": {"organization": "sho"}}}, False, False),
        ({"list": {"elements": []}}, False, False),
    ],
)
def test_generators_that_ask_about_it(generator: dict[str, Any], *, push: bool, request_: bool) -> None:
    deep = {"matrix": {"generators": [{"clusters": {}}, {"merge": {"generators": [generator]}}]}}
    for spec in (_set(generator), _set(deep)):
        assert asks(spec, PUSH) is push
        assert asks(spec, REQUEST) is request_


def test_an_event_survives_its_way_and_is_bounded() -> None:
    assert Event.from_json(PUSH.to_json()) == PUSH
    assert Event.from_json(REQUEST.to_json()) == REQUEST
    many = Event("github", PUSH.repositories, refs=frozenset(f"refs/heads/b{n}" for n in range(1000)))
    assert Event.from_json(many.to_json()).refs == frozenset(), "any may have moved"
