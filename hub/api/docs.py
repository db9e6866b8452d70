"""The reference page of our kinds: `python -m hub.api.docs` writes it from the same schemas as `crds/`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.api.registry import KINDS
from hub.api.schema import _Documented, structural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest
    from hub.api.registry import Kind

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "crds.md"
_HEAD = """\
# Reference: our kinds

<!-- Generated from hub/api by `python -m hub.api.docs`; change the models instead. -->

API group `axletree.dev`, version `v1alpha1`. Every kind is in the category `axletree`, so that
`kubectl get axletree -A` lists all of them. A field that is not marked as required may be left out. `[]` after a
name means a list, `.*` a map. What [`concepts.md`](../concepts.md) says of a kind comes first; this page has
every field.
"""
_SELECTOR = {"matchLabels", "matchExpressions"}
_BOUNDS = (
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("maxProperties", "at most {} entries"),
    ("minimum", "from {}"),
    ("maximum", "to {}"),
)


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([_HEAD, *(_kind(kind) for kind in KINDS.values())])


def _kind(kind: Kind) -> str:
    schema = _schema(kind)
    lines = [f"## {kind.kind}", "", schema.get("description", ""), ""]
    scope = "Namespaced" if kind.namespaced else "Cluster-scoped"
    short = f", short name `{kind.short}`" if kind.short else ""
    lines += [f"{scope}; `kubectl get {kind.plural}.axletree.dev`{short}.", ""]
    rules = [{"message": why} for _, why in kind.rules]
    for part in ("spec", "status"):
        node = schema["properties"].get(part)
        if node is None:
            continue
        rules += [] if part == "status" else _rules(node, part)
        lines += [f"### {kind.kind} {part}", "", "| field | type | what |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_type(value)} | {_what(value, need)} |" for name, value, need in _rows(node)
        ]
        lines.append("")
    if rules:
        lines += ["The API server refuses what breaks one of these rules:", ""]
        lines += [f"- {_cell(each['message'])}" for each in rules]
        lines.append("")
    return "\n".join(lines)


def _schema(kind: Kind) -> Manifest:
    """The kind's schema with every field that we write, also where the CRD leaves a status open."""
    body = kind.model.model_json_schema(by_alias=True, schema_generator=_Documented)
    return structural(_typed(body))


def _typed(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _typed(value) for key, value in node.items() if key != "x-hot"}
    return [_typed(value) for value in node] if isinstance(node, list) else node


def _rows(node: Manifest, at: str = "") -> Iterator[tuple[str, Manifest, bool]]:
    """(path, schema, required) of every field below a node, parents first."""
    required = set(node.get("required", ()))
    for name, value in node.get("properties", {}).items():
        path = f"{at}{name}"
        yield path, value, name in required
        inner, mark = value, ""
        if value.get("type") == "array":
            inner, mark = value["items"], "[]"
        elif isinstance(value.get("additionalProperties"), dict):
            inner, mark = value["additionalProperties"], ".*"
        if inner.get("properties") and not _is_selector(inner) and not _is_conditions(value):
            yield from _rows(inner, f"{path}{mark}.")


def _rules(node: Any, at: str) -> list[dict[str, str]]:
    """Every CEL rule below a node, its message preceded by where it holds; equal ones once."""
    found: dict[str, dict[str, str]] = {}

    def walk(value: Manifest, path: str) -> None:
        for each in value.get("x-kubernetes-validations", ()):
            found.setdefault(f"`{path}`: {each['message']}", each)
        for name, inner in value.get("properties", {}).items():
            walk(inner, f"{path}.{name}")
        if isinstance(value.get("items"), dict):
            walk(value["items"], f"{path}[]")
        if isinstance(value.get("additionalProperties"), dict):
            walk(value["additionalProperties"], f"{path}.*")

    walk(node, at)
    return [{"message": message} for message in found]


def _type(node: Manifest) -> str:  # noqa: PLR0911 - a table of types
    if node.get("x-kubernetes-int-or-string"):
        return "count or percentage"
    if _is_conditions(node):
        return "list of conditions"
    if _is_selector(node):
        return "label selector"
    match node.get("type"):
        case "array":
            return f"list of {_type(node['items'])}"
        case "object" if isinstance(node.get("additionalProperties"), dict):
            return f"map of {_type(node['additionalProperties'])}"
        case "object" if not node.get("properties"):
            return "any object"
        case None:
            return "any value"
        case kind:
            return str(kind)


def _what(node: Manifest, required: bool) -> str:  # noqa: FBT001 - one caller
    bounds = {**node, **{key: value for key, value in node.get("items", {}).items() if key == "enum"}}
    parts = [_cell(node.get("description", ""))]
    if bounds.get("enum"):
        parts.append(f"One of {', '.join(f'`{each}`' for each in bounds['enum'])}.")
    limits = [text.format(node[key]) for key, text in _BOUNDS if key in node]
    if limits:
        parts.append(f"{', '.join(limits).capitalize()}.")
    if "default" in node:
        parts.append(f"Default: `{json.dumps(node['default'])}`.")
    if required:
        parts.append("Required.")
    return " ".join(filter(None, parts))


def _cell(text: str) -> str:
    """One line that does not end its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _is_selector(node: Manifest) -> bool:
    return set(node.get("properties", ())) == _SELECTOR


def _is_conditions(node: Manifest) -> bool:
    return {"type", "status", "lastTransitionTime"} <= set((node.get("items") or {}).get("properties", ()))


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
