from __future__ import annotations

from typing import Any

import pytest

from agent.apply.overruled import overruled
from agent.contract.manifest import ObjectRef

REF = ObjectRef("", "ConfigMap", "shop", "web")
FIELDS = {"f:spec": {"f:x": {}}}


def told(wanted: Any, live: Any, *, fields: Any = None, ref: ObjectRef = REF) -> list[tuple[str, str, str]]:
    found = overruled(ref, {"spec": {"x": wanted}}, {"spec": {"x": live}}, fields or FIELDS)
    return [(each.path, each.wanted, each.live) for each in found]


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ("nginx:1", "nginx:1"),
        ("1000m", "1"),
        ("1Gi", "1024Mi"),
        ("0.5", "500m"),
        ("1e3", "1k"),
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00Z"),
        ("YQ==\n", "YQ=="),
        (1, "1"),
        ("80", 80),
        (None, "x"),
        ({}, {"a": 1}),
        ([1], [2]),
    ],
)
def test_a10_what_could_mean_the_same_is_not_told(wanted: Any, live: Any) -> None:
    assert told(wanted, live) == []


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ("nginx:1", "mirror/nginx:1"),
        (1, 2),
        (True, False),
        ("100m", "200m"),
        ("1Gi", "1G"),
        ("2026-01-01", "x"),
    ],
)
def test_a11_a_value_that_admission_changes_is_told(wanted: Any, live: Any) -> None:
    (found,) = told(wanted, live)
    assert found[0] == ".spec.x"
    assert found[1] != found[2]


def test_a11_what_we_do_not_set_is_nobodys_change_of_ours() -> None:
    assert told("a", "b", fields={"f:spec": {"f:y": {}}}) == []


def test_a28_a_secrets_values_stay_hidden() -> None:
    (found,) = told("a", "b", ref=ObjectRef("", "Secret", "shop", "web"))
    assert found == (".spec.x", "(hidden)", "(hidden)")
