from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kube.yaml import YamlError, load_all
from hub.render.similar import load_similar

TEXTS = [
    "a: 1\nb: yes\nc: 'x'\nd: \"y\"\ne: 0o17\nf: 1e3\ng: null\nh: 1.0\ni: 12:30\n",
    'a: |\n  x: 1\n  y: "2"\nb: >\n  z: 3\n',
    "a: one\n  two: three\n",
    "a: one\n  two\n",
    'a: "one\n  b: two\n  c"\n',
    "a: 'one\n  b: \"two\"\n  c'\n",
    "# a: b\nc: d # e: f\ng: h\n",
    "kind: List\napiVersion: v1\nitems:\n  - kind: A\n    n: 1\n  - kind: B\n    n: x\n",
    "kind: FooList\napiVersion: v1\nitems: [{a: 1}, {b: 2,\n c: 3\n}]\n",
    "a: &x\n  b: 1\nc: *x\nd: {<<: *x}\n",
    "a: &x 1\nb: *x\n",
    "? a: b\n: c: d\n",
    "- a: 1\n",
    "a: 1\na: 2\n",
    "a: b: c\n",
    "a: 1\n---\nb: 2\n...\n---\nc: 3\n",
    "a: !!str 1\nb: !!int 2\nc: !!binary aGk=\n",
    'a: ""\nb: "x y"\nc: "# no"\nd: "a: b"\n',
    "a: 1\r\nb: 2\r\n",
    "a: 1 \nb: \t2\n",
    "a: \ue0000\ue001\n",
    "a:\n  - b: x\n    c: [1,\n  d: e\n    ]\n",
    '"kind": x\n"a": y\n',
    "a: 18446744073709551615\nb: 99999999999999999999\nc: 1e999\nd: 0x1F\ne: 1_000\n",
    'a: {b: 1, c: x, d: "y"}\ne: f, g\nh: [{i: 1}, {j: k}]\n',
    'a: \'x: 1, y: 2\'\nb: "x: 1, y"\nc: "\\": 1, y"\nd: \'b: "x", c\'\n',
    "kind : List\nitems: []\n",
    "a: {kind : x}\nb: {kind: y, apiVersion: z}\n",
    "nodash: a-\nslash: a/b:c\nat: a@b\n",
]


def _either(text: str, load: object) -> object:
    try:
        return repr(load(text))  # type: ignore[operator]
    except YamlError as error:
        return str(error)


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_read_as_ever(text: str) -> None:
    for _ in range(2):
        assert _either(text, load_similar) == _either(text, load_all)
    for old, new in (("1", "true"), ("x", "7"), ("b", "null"), ("y", "on")):
        other = text.replace(old, new)
        assert _either(other, load_similar) == _either(other, load_all)


_WORDS = st.one_of(
    st.sampled_from(["a", "1", "true", "null", "~", "on", "1.0", "-", "a:", "a: b", "#", "- x"]),
    st.sampled_from(["|", ">", '"', "'q'", '"q r"']),
    st.text(string.ascii_letters + string.digits + " .:-_/'\"#{}[],&*!|>%@`\t", max_size=8),
)
_INDENTS = st.sampled_from(["", "  ", "    ", "- ", "  - "])
_LINES = st.lists(st.tuples(_INDENTS, st.sampled_from(["a", "b", "kind", "# c"]), _WORDS))


@given(_LINES)
@settings(max_examples=1500, deadline=None)
def test_whatever_the_lines_it_is_read_as_ever(lines: list[tuple[str, str, str]]) -> None:
    text = "".join(f"{indent}{key}: {word}\n" for indent, key, word in lines)
    assert _either(text, load_similar) == _either(text, load_all)


def test_what_two_texts_share_is_not_changed_by_filling() -> None:
    first = load_similar("a: {b: 1,\n c: 2\n}\nd:\n  e: x\n")
    second = load_similar("a: {b: 1,\n c: 3\n}\nd:\n  e: z\n")
    assert first == [{"a": {"b": 1, "c": 2}, "d": {"e": "x"}}]
    assert second == [{"a": {"b": 1, "c": 3}, "d": {"e": "z"}}]
