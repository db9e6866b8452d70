"""YAML at the edge: read as kubectl reads it, written so that kubectl reads back the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from yaml.nodes import ScalarNode

from agent.kube.scalars import resolve_plain
from agent.kube.yamlreader import Reader, YamlError, error_at, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.contract.manifest import Manifest

__all__ = ["YamlError", "dump", "dump_all", "load_all", "load_value"]

_TAGS = "tag:yaml.org,2002:"
_STR = f"{_TAGS}str"
_DumperBase: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load_all(text: str | bytes, *, source: str = "") -> list[Manifest]:
    """Every object of a stream, lists (`kind: List`, `FooList`) flattened, empty documents left out.

    `source` names the text in errors. Raises `YamlError`.
    """
    found: list[Manifest] = []
    for value, mark in Reader(text, source=source).documents():
        if value is None:
            continue
        if not isinstance(value, dict):
            raise error_at(f"an object is expected, not {kind_of(value)}", mark, source=source)
        found.extend(_flatten(value, mark, source=source))
    return found


def load_value(text: str | bytes, *, source: str = "") -> Any:
    """Read the one document as a JSON value, None for an empty text. A second one is a `YamlError`, too."""
    found = list(Reader(text, source=source).documents())
    if len(found) > 1:
        raise error_at("one document is expected", found[1][1], source=source)
    return found[0][0] if found else None


def dump(value: Any) -> str:
    """One JSON value in block style, keys in their order."""
    return dump_all([value])


def dump_all(values: Iterable[Any]) -> str:
    """Several documents, with `---` between them."""
    text: str = yaml.dump_all(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=2**31 - 1,
        explicit_start=None,
    )
    return text


def _flatten(value: Manifest, mark: Any, *, source: str) -> Iterator[Manifest]:
    kind, items = value.get("kind"), value.get("items")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(items, list):
        yield value
        return
    for item in items:
        if not isinstance(item, dict):
            raise error_at(f"an item of a {kind} is {kind_of(item)}, not an object", mark, source=source)
        if kind != "List" and not item.get("kind") and not item.get("apiVersion"):
            item |= {"apiVersion": value.get("apiVersion"), "kind": kind.removesuffix("List")}
        yield from _flatten(item, mark, source=source)


class _Dumper(_DumperBase):  # type: ignore[misc]
    """Quotes what kubectl, or a reader of plain YAML 1.1, would take for something other than a string."""

    def resolve(self, kind: type, value: str, implicit: tuple[bool, bool]) -> str:
        found: str = super().resolve(kind, value, implicit)
        if kind is ScalarNode and implicit[0] and found == _STR and not isinstance(resolve_plain(value), str):
            return f"{_TAGS}unquoted"
        return found

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's hook
        return True


def _represent_str(dumper: Any, value: str) -> Any:
    return dumper.represent_scalar(_STR, value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represent_str)
