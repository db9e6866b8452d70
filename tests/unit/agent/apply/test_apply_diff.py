from __future__ import annotations

from typing import Any

import pytest

from agent.apply.diff import HIDDEN, MAX_VALUE, NOT_THERE, Change, changes
from agent.contract.manifest import ref_of


def told(wanted: dict[str, Any], live: dict[str, Any], kind: str = "ConfigMap") -> dict[str, tuple[str, str]]:
    fields = {"f:data": {f"f:{key}": {} for key in {*wanted, *live}}}
    base = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}}
    found = changes(ref_of(base), wanted={**base, "data": wanted}, live={**base, "data": live}, fields=fields)
    return {each.path: (each.wanted, each.live) for each in found}


def test_values_are_told_as_json_and_bounded() -> None:
    found = told({"a": "1", "b": "x" * 1000, "same": "1"}, {"a": 2, "b": "y", "same": "1", "new": "z"})
    assert found[".data.a"] == ('"1"', "2")
    assert len(found[".data.b"][0]) == MAX_VALUE
    assert found[".data.new"] == (NOT_THERE, '"z"')
    assert ".data.same" not in found


@pytest.mark.parametrize(
    "key", ["password", "DB_PASSWD", "client-secret", "apiKey", "access_key", "token", "connectionString"]
)
def test_s9_a_field_whose_name_is_confidential_tells_no_value(key: str) -> None:
    assert told({key: "hunter2"}, {key: "hunter3"}) == {f".data.{key}": (HIDDEN, HIDDEN)}


def test_s9_secrets_and_addresses_with_logins_tell_no_value() -> None:
    assert told({"a": "hunter2"}, {"a": "hunter3"}, "Secret") == {".data.a": (HIDDEN, HIDDEN)}
    assert told({"url": "https://me:hunter2@h/x"}, {"url": "https://h/x"}) == {
        ".data.url": (HIDDEN, '"https://h/x"')
    }
    nested = {"a": {"password": "hunter2"}}
    assert told(nested, {"a": "b"}) == {".data.a": (HIDDEN, '"b"')}


def test_so_many_changes_and_no_more() -> None:
    found = told({str(number): 1 for number in range(100)}, {})
    assert len(found) == 20
    assert Change(".data.0", "1", NOT_THERE).live == NOT_THERE
