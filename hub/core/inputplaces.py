"""Where values that came from a spoke must not decide: namespaces, RBAC, hosts of images. Pure.

What a chart does with a value is not to be seen from outside. So a value that stands in such a place is put to the
test: the app is rendered once more with another word instead, and what moves with it was decided by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json, sha256_hex
from agent.contract.errors import TerminalError
from hub.api.project import InputPlace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from agent.contract.manifest import Manifest

_RBAC = "rbac.authorization.k8s.io/"
_SHOWN = 3


class InputMisplaced(TerminalError):
    """A value of another app decides about a namespace, RBAC or an image's host, and the Project does not say so."""

    reason = "InputMisplaced"


def places(objects: Iterable[Manifest], allowed: Collection[InputPlace] = ()) -> dict[str, str]:
    """What stands in such places, by names of these; `allowed` are none."""
    found: dict[str, str] = {}
    for at, obj in enumerate(objects):
        metadata = obj.get("metadata") or {}
        name = f"{at} {obj.get('kind')}/{metadata.get('name')}"
        if InputPlace.NAMESPACE not in allowed:
            found[f"{name} metadata.namespace"] = str(metadata.get("namespace", ""))
            if obj.get("kind") == "Namespace":
                found[f"{name} metadata.name"] = str(metadata.get("name", ""))
        if InputPlace.RBAC not in allowed and str(obj.get("apiVersion", "")).startswith(_RBAC):
            found[name] = canonical_json(obj).decode()
        if InputPlace.IMAGE_HOST not in allowed:
            found |= {f"{name} {path}": text for path, text in _images(obj, "")}
    return {place: text for place, text in found.items() if text}


def suspects(values: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, str]:
    """Texts of the values that stand in a place, each with a word that may stand for it."""
    texts = {text for value in values.values() for text in _texts(value) if text}
    hits = {text for text in texts if any(text in place for place in found.values())}
    return {text: f"axin{sha256_hex(text.encode())[:12]}" for text in sorted(hits)}


def replaced(value: Any, words: Mapping[str, str]) -> Any:
    """The value with these texts as others."""
    if isinstance(value, str):
        return words.get(value, value)
    if isinstance(value, dict):
        return {key: replaced(each, words) for key, each in value.items()}
    return [replaced(each, words) for each in value] if isinstance(value, list) else value


def check_same(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Whether places are what they are whatever the values. Raises `InputMisplaced`."""
    moved = [
        place for place, text in before.items() if _meant(place, after.get(place)) != _meant(place, text)
    ]
    if moved:
        raise InputMisplaced(said(moved))


def said(moved: Sequence[str]) -> str:
    """Which places, for people."""
    shown = ", ".join(place.partition(" ")[2] for place in moved[:_SHOWN])
    return (
        f"an input decides about {shown}: values of other apps go into no namespace, RBAC or image host, "
        "unless the Project's `inputPlaces` say so"
    )


def _meant(place: str, text: str | None) -> str | None:
    """Of an image its host: what is behind that may come from anywhere."""
    return _host(text) if text is not None and place.endswith("image") else text


def _host(image: str) -> str:
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else ""


def _images(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, text) of every field called `image`."""
    if isinstance(node, dict):
        for key, value in node.items():
            inner = f"{path}.{key}" if path else str(key)
            if key == "image" and isinstance(value, str):
                yield inner, value
            else:
                yield from _images(value, inner)
    elif isinstance(node, list):
        for at, one in enumerate(node):
            yield from _images(one, f"{path}[{at}]")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
