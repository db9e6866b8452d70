from __future__ import annotations

import base64
from typing import Any

import pytest

from hub.core.derive import begun_status
from hub.core.sinks import with_sinks

NOW = "2026-05-01T00:00:00Z"


def secret(name: str, *, label: str = "notification", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "axletree-system", "labels": {"axletree.dev/credentials": label}}
    return {
        "metadata": metadata,
        "data": {key: base64.b64encode(each.encode()).decode() for key, each in data.items()},
    }


SECRETS = {
    f"axletree-system/{each['metadata']['name']}": each
    for each in (
        secret("ops", type="apprise"),
        secret("team", projects="shop-*, payments"),
        secret("git", label="generator"),
    )
}


def said(namespace: str, *sinks: str) -> dict[str, Any]:
    metadata = {"name": "it", "generation": 3} | ({"namespace": namespace} if namespace else {})
    wanted: dict[str, Any] = {"conditions": [{"type": "Ready"}]}
    rules = {"notifications": [{"sink": each} for each in sinks]} if sinks else {}
    with_sinks(wanted, {"metadata": metadata, "spec": rules}, SECRETS.get, now=NOW)
    return {each["type"]: each for each in wanted["conditions"]}


@pytest.mark.parametrize(
    ("namespace", "sinks", "missing"),
    [
        ("shop-a", ("ops", "team"), ""),
        ("payments", ("team",), ""),
        ("shop", ("team", "ops"), "team"),
        ("shop-a", ("gone", "git"), "git, gone"),
        ("", ("ops",), ""),
        ("", ("team",), "team"),
    ],
)
def test_what_names_a_sink_says_whether_it_is_there_for_it(
    namespace: str, sinks: tuple[str, ...], missing: str
) -> None:
    found = said(namespace, *sinks)["Notifications"]
    assert (found["status"], found["reason"]) == (
        ("False", "UnknownSink") if missing else ("True", "SinksKnown")
    )
    assert found["message"] == (
        f"there is no sink {missing} for it: nothing is told there" if missing else ""
    )
    assert found["lastTransitionTime"] == NOW


def test_who_names_none_says_nothing_of_it() -> None:
    assert list(said("shop")) == ["Ready"]


def test_a_plan_that_begins_leaves_it_as_it_is() -> None:
    known = {"type": "Notifications", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    found = begun_status({"health": {"state": "Healthy"}, "conditions": [known]}, generation=2, now=NOW)
    assert known in found["conditions"]
