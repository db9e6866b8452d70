from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from agent.kube.yaml import YamlError, dump, dump_all, load_all, load_value

# What sigs.k8s.io/yaml reads: made by golden/main.go, which says how to add rows.
GOLDEN = [
    json.loads(line)
    for line in (Path(__file__).parent / "golden/kubectl.jsonl").read_text().strip().split("\n")
]
INT64 = 2**63


def _as_kubectl_sees(value: Any) -> Any:
    """With numbers by their type on the API server: beyond an int64 they are floats there."""
    match value:
        case dict():
            return {key: _as_kubectl_sees(item) for key, item in value.items()}
        case list():
            return [_as_kubectl_sees(item) for item in value]
        case bool():
            return value
        case int() if -INT64 <= value < INT64:
            return ("integer", value)
        case int() | float():
            return ("float", float(value))
        case _:
            return value


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["yaml"].encode("unicode_escape").decode()[:40])
def test_a_text_means_what_kubectl_reads(row: dict[str, Any]) -> None:
    if row.get("refused"):
        with pytest.raises(YamlError):
            load_value(row["yaml"])
    else:
        assert _as_kubectl_sees(load_value(row["yaml"])) == _as_kubectl_sees(row.get("value"))


def test_a7_empty_and_comment_only_documents_are_left_out() -> None:
    text = "---\n# nothing\n---\n\n---\nkind: A\n---\nnull\n---\nkind: B\n...\n"
    assert load_all(text) == [{"kind": "A"}, {"kind": "B"}]
    assert load_all("") == []
    assert load_all("# only a comment\n") == []


def test_a7_lists_are_flattened_at_any_depth() -> None:
    text = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: b}}]}
---
apiVersion: v1
kind: ConfigMapList
items:
- metadata: {name: c}
---
apiVersion: example.com/v1
kind: AllowList
spec: {}
"""
    found = load_all(text)
    assert [(item["kind"], (item.get("metadata") or {}).get("name")) for item in found] == [
        ("ConfigMap", "a"),
        ("Secret", "b"),
        ("ConfigMap", "c"),
        ("AllowList", None),
    ]
    assert found[2]["apiVersion"] == "v1"


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' stands twice"),
        ("x:\n  1: a\n  '1': b\n", 3, 3, "'1' stands twice"),
        ("kind: A\n---\na: [1,\n", 4, 1, "flow node"),
        ("a: b: c\n", 1, 5, "mapping values"),
        ("a: .inf\n", 1, 4, "no JSON number"),
        ("ok: 1\nbad: \x01\n", 2, 6, "control characters"),
        ("a: *missing\n", 1, 4, "*missing has no anchor"),
        ("a: &x\n  b: *x\n", 2, 6, "contains itself"),
        ("- 1\n", 1, 1, "an object is expected, not a list"),
        ("kind: List\nitems: [1]\n", 1, 1, "not an object"),
    ],
)
def test_a7_an_error_names_source_line_and_column(text: str, line: int, column: int, part: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_all(text, source="apps/web.yaml")
    error = caught.value
    assert (error.source, error.line, error.column) == ("apps/web.yaml", line, column)
    assert str(error).startswith(f"apps/web.yaml:{line}:{column}: ")
    assert part in str(error)
    assert error.reason == "InvalidYaml"


@pytest.mark.parametrize("bad", [b"a: \xff\xfe\n", "a: \ud800"])
def test_a_text_that_is_no_unicode_is_refused(bad: str | bytes) -> None:
    with pytest.raises(YamlError):
        load_all(bad)


def test_a7_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(YamlError, match="aliases stand for more"):
        load_all("\n".join(lines))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: " + "{b: " * 5000, "\n".join(" " * i + "a:" for i in range(300))]
)
def test_a7_bottomless_nesting_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        load_value(text)


def test_aliased_values_are_copies() -> None:
    found = load_value("a: &x {k: [1]}\nb: *x\n")
    found["a"]["k"].append(2)
    assert found["b"] == {"k": [1]}


def test_load_value_takes_one_document() -> None:
    assert load_value(b"[1, two]") == [1, "two"]
    assert load_value("") is None
    with pytest.raises(YamlError, match="one document"):
        load_value("a: 1\n---\nb: 2\n")


def test_dump_keeps_order_and_uses_block_style() -> None:
    value = {
        "kind": "X",
        "apiVersion": "v1",
        "spec": {"list": [{"b": 1, "a": None}], "text": "one\ntwo\n", "empty": {}},
    }
    spec = "  list:\n  - b: 1\n    a: null\n  text: |\n    one\n    two\n  empty: {}\n"
    assert dump(value) == f"kind: X\napiVersion: v1\nspec:\n{spec}"
    assert load_all(dump_all([value, {"kind": "Y"}])) == [value, {"kind": "Y"}]


@pytest.mark.parametrize(
    "text",
    [
        "y",
        "no",
        "1e3",
        "0o17",
        "12:30",
        "2001-01-01",
        "<<",
        "=",
        "~",
        "",
        "0x1F",
        "1_000",
        ".5",
        "null",
        "0b1",
    ],
)
def test_dump_quotes_what_a_reader_would_misread(text: str) -> None:
    assert dump({"k": text}).strip() == f"k: '{text}'"
    assert dump({text: 1}).strip() == f"'{text}': 1"
    assert pyyaml.safe_load(dump({"k": text})) == {"k": text}


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [row["yaml"][3:] for row in GOLDEN if row["yaml"].startswith("k: ")]
)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-INT64, INT64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not math.isclose(x, round(x)))
    | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@given(_json)
def test_what_is_dumped_is_read_back(value: Any) -> None:
    assert load_value(dump(value)) == value
