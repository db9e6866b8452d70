"""Whether what a bundle calls an object has the shape of one: nothing after this has to ask again. Pure.

Values are the API server's to judge, object by object; here it is about what every step reads before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.apply.errors import ObjectInvalid
from agent.contract.manifest import group_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest

_CRD, _SECRET = ("apiextensions.k8s.io", "CustomResourceDefinition"), ("", "Secret")
_NAMES = ("name", "generateName", "namespace")


def well_formed(objects: Iterable[Manifest]) -> None:
    """Raise `ObjectInvalid` for the first that has a text, a map or a list where another of these belongs."""
    for number, obj in enumerate(objects, start=1):
        if not isinstance(obj, dict):
            raise ObjectInvalid(f"object {number} is {_word(obj)}, not a map")
        told = f"object {number} ({str(obj.get('kind', 'no kind'))[:80]})"
        for key in ("apiVersion", "kind"):
            _expect(obj, key, str, f"{told}: {key}")
        metadata = _expect(obj, "metadata", dict, f"{told}: metadata") or {}
        for key in _NAMES:
            _expect(metadata, key, str, f"{told}: metadata.{key}")
        told = f"{obj.get('kind', '')} {metadata.get('name') or ''}: "
        for key in ("labels", "annotations"):
            _expect(metadata, key, dict, f"{told}metadata.{key}")
        _by_kind(obj, told)


def _by_kind(obj: Manifest, told: str) -> None:
    """What is read of some kinds beside their metadata."""
    kind = group_of(obj.get("apiVersion") or ""), obj.get("kind")
    if kind == _CRD:
        spec = _expect(obj, "spec", dict, f"{told}spec") or {}
        _expect(spec, "names", dict, f"{told}spec.names")
    elif kind == _SECRET:
        for key in ("data", "stringData"):
            for name, value in (_expect(obj, key, dict, f"{told}{key}") or {}).items():
                if value is not None and not isinstance(value, str):
                    raise ObjectInvalid(f"{told}{key}.{name} is {_word(value)}, not a text: put it in quotes")


def _expect(holder: dict[str, Any], key: str, kind: type, told: str) -> Any:
    value = holder.get(key)
    if value is not None and not isinstance(value, kind):
        raise ObjectInvalid(f"{told} is {_word(value)}, not {'a map' if kind is dict else 'a text'}")
    return value


def _word(value: Any) -> str:
    words = {dict: "a map", list: "a list", str: "a text", bool: "true or false", type(None): "empty"}
    return words.get(type(value), "a number")
