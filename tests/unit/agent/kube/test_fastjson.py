"""What pydantic's JSON says is what the standard library's says, whatever comes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kube.encoding import dumps_compact
from agent.kube.fastjson import dumps, loads

PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


@given(VALUES)
def test_a_value_comes_back_as_it_was_through_either(value: Any) -> None:
    data = dumps(value)
    assert json.loads(data) == value
    assert loads(dumps_compact(value)) == value
    assert loads(data) == value


@pytest.mark.parametrize("text", ["", "<html>", "{", '{"a":1', b"\xff\xfe\xfa", "{'a': 1}"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as json.loads
        loads(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    "data",
    [b"[" * 400 + b"]" * 400, rb'"\ud800"', b"1" * 400, b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b"[1e400, -0]"],
)
def test_what_one_of_both_refuses_the_standard_library_decides(data: bytes) -> None:
    assert loads(data) == json.loads(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", {"a": [math.inf]}])
def test_what_is_no_json_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - as dumps_compact
        dumps(value)


def test_a_text_about_numbers_is_a_text() -> None:
    assert json.loads(dumps({"NaN": "Infinity"})) == {"NaN": "Infinity"}


def test_depth_is_no_limit() -> None:
    value: Any = []
    for _ in range(400):
        value = [value]
    assert loads(dumps(value)) == value
