"""`{{ inputs.NAME }}` in an app's values and patches. Pure.

Values come from spokes and are data: they are put in as nodes of what is parsed already, never as text that is read
or rendered once more. A place that is exactly one reference takes the value with its type; within other text a
value is written as text (JSON where it is a list or a map).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import sha256_hex
from agent.contract.errors import TerminalError
from agent.kube.yaml import YamlError, load_value
from hub.core.params import scalar_text

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

_REFERENCE = re.compile(
    r"\{\{-?\s*inputs\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"(?P<path>(?:\.[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]{1,4}\])*)\s*-?\}\}"
)
_LIKE = re.compile(r"\{\{(?=[^}]*(?<![\w.])inputs\b)", re.IGNORECASE)
"""What somebody may have meant as one; not `.Values.inputs` of a chart's own templates."""
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]+)\]")
_MAX_TEXT = 1024 * 1024
_PATCHES = ("patches", "setPatches")


class InputMisused(TerminalError):
    """A reference to an input that cannot be: its place, its name, or what it does with the value."""

    reason = "InputMisused"


class Mark:
    """What `inputs.NAME` is in a set's template: it stays a reference, for the child's own rendering.

    It can be put somewhere; whatever would have to know the value (a filter, a test, an operator) is an error.
    """

    __slots__ = ("reference",)

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def __getitem__(self, key: object) -> Mark:
        return Mark(f"{self.reference}[{key}]" if isinstance(key, int) else f"{self.reference}.{key}")

    def text(self) -> str:
        return f"{{{{ {self.reference} }}}}"

    def _unknown(self, *_: object) -> Any:
        raise ValueError(
            f"{self.reference} is not known yet here: write {{{{ {self.reference} }}}} with nothing else in it"
        )

    __str__ = __bool__ = __len__ = __iter__ = __add__ = __radd__ = __eq__ = __hash__ = _unknown
    __lt__ = __gt__ = __le__ = __ge__ = __mul__ = __contains__ = __int__ = __float__ = _unknown


def marks(inputs: Any) -> dict[str, Mark]:
    """The variable `inputs` of a template that declares these."""
    names = [each.get("as") for each in inputs or () if isinstance(each, dict)]
    return {name: Mark(f"inputs.{name}") for name in names if isinstance(name, str)}


def refers(text: str) -> bool:
    """Whether the text holds a reference."""
    return _REFERENCE.search(text) is not None


def check_places(spec: Mapping[str, Any]) -> None:
    """Whether references are where they may be, and of inputs that are declared. Raises `InputMisused`.

    An app without inputs has no references: what looks like one there is text.
    """
    declared = {str(each.get("as")): bool(each.get("secret")) for each in spec.get("inputs") or ()}
    if not declared:
        return
    places = dict(_places(spec))
    for path, text, _ in _strings(spec, "spec", places):
        if _LIKE.search(text):
            raise InputMisused(f"{path}: inputs go into source values and patches, and nowhere else")
    for place, one in places.items():
        for path, text, key in _strings(one, place):
            for found in _LIKE.finditer(text):
                _check(path, _REFERENCE.match(text, found.start()), declared, key=key)


def _check(path: str, exact: re.Match[str] | None, declared: Mapping[str, bool], *, key: bool) -> None:
    if key:
        raise InputMisused(f"{path}: an input is no key of a map")
    if exact is None:
        raise InputMisused(f"{path}: write {{{{ inputs.NAME }}}}, with nothing else within the braces")
    if exact["name"] not in declared:
        raise InputMisused(f"{path}: no input is called {exact['name']}")
    if declared[exact["name"]]:
        raise InputMisused(f"{path}: {exact['name']} is sealed: it is in its Secret, and nowhere else")


def with_inputs(spec: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with every reference replaced, as new data. Raises `InputMisused`.

    Text that holds YAML (`helm.values` as text, patches) is parsed first, with a word in each reference's place, so
    that no value can change its structure.
    """
    found: dict[str, Any] = json.loads(json.dumps(spec))
    for source in found.get("sources") or ():
        helm = source.get("helm")
        if isinstance(helm, dict):
            for key in helm.keys() & {"values", "valuesObject"}:
                helm[key] = _values(helm[key], values)
        jinja = source.get("jinja")
        if isinstance(jinja, dict) and jinja.get("values"):
            jinja["values"] = _filled(jinja["values"], values)
        _patches((source.get("kustomize") or {}).get("patches"), values)
    for key in _PATCHES:
        _patches(found.get(key), values)
    return found


class Known(dict[str, Any]):
    """Values of some inputs: references to others stay as they are."""


def with_known(spec: Mapping[str, Any], inputs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The spec for a look, with the values that `status.inputs` has."""
    if not spec.get("inputs"):
        return dict(spec)
    return with_inputs(spec, Known({str(each["as"]): each.get("value") for each in inputs}))


def _values(node: Any, values: Mapping[str, Any]) -> Any:
    """A map of values, or one as text."""
    if isinstance(node, str):
        return _parsed(node, values, where="helm.values") if refers(node) else node
    return _filled(node, values)


def _patches(patches: Any, values: Mapping[str, Any]) -> None:
    for one in patches or ():
        if refers(one["patch"]):
            one["patch"] = json.dumps(_parsed(one["patch"], values, where="a patch"), ensure_ascii=False)


def _parsed(text: str, values: Mapping[str, Any], *, where: str) -> Any:
    """Text of YAML as a value, references filled in after it was parsed."""
    references: list[re.Match[str]] = []
    salt = sha256_hex(text.encode())[:16]

    def word(found: re.Match[str]) -> str:
        references.append(found)
        return f"axin{salt}n{len(references) - 1}x"

    masked = _REFERENCE.sub(word, text)
    try:
        tree = load_value(masked, source=where)
    except YamlError as error:
        raise InputMisused(f"{where}: {error.problem}") from error
    words = re.compile(rf"axin{salt}n([0-9]+)x")

    def back(node: Any) -> Any:
        if isinstance(node, str):
            return words.sub(lambda found: references[int(found[1])][0], node)
        if isinstance(node, dict):
            if any(words.search(str(key)) for key in node):
                raise InputMisused(f"{where}: an input is no key of a map")
            return {key: back(value) for key, value in node.items()}
        return [back(one) for one in node] if isinstance(node, list) else node

    return _filled(back(tree), values)


def _filled(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(one, values) for one in node]
    if not isinstance(node, str):
        return node
    whole = _REFERENCE.fullmatch(node.strip())
    if whole is not None:
        return _value(whole, values)
    text = _REFERENCE.sub(lambda found: _text(_value(found, values)), node)
    if len(text) > _MAX_TEXT:
        raise InputMisused(f"a text with inputs has at most {_MAX_TEXT} characters")
    return text


def _value(found: re.Match[str], values: Mapping[str, Any]) -> Any:
    name = found["name"]
    if name not in values:
        if isinstance(values, Known):
            return found[0]
        raise InputMisused(f"no input is called {name}")
    value = values[name]
    for step in _STEP.finditer(found["path"]):
        key, index = step[1], step[2]
        if key is not None and isinstance(value, dict) and key in value:
            value = value[key]
        elif index is not None and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            raise InputMisused(f"the value of inputs.{name} has no {found['path'].lstrip('.')}")
    return value


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return scalar_text(value)


def _places(spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(path, value) of all that may hold references."""
    for at, source in enumerate(spec.get("sources") or ()):
        helm, jinja = source.get("helm") or {}, source.get("jinja") or {}
        for name, part, key in (
            ("helm", helm, "values"),
            ("helm", helm, "valuesObject"),
            ("jinja", jinja, "values"),
        ):
            if part.get(key):
                yield f"spec.sources[{at}].{name}.{key}", part[key]
        for index, one in enumerate((source.get("kustomize") or {}).get("patches") or ()):
            yield f"spec.sources[{at}].kustomize.patches[{index}].patch", one["patch"]
    for key in _PATCHES:
        for index, one in enumerate(spec.get(key) or ()):
            yield f"spec.{key}[{index}].patch", one["patch"]


def _strings(node: Any, path: str, skipped: Container[str] = frozenset()) -> Iterator[tuple[str, str, bool]]:
    """(path, text, whether it is a map's key) of everything within, but what is `skipped`."""
    if isinstance(node, str):
        yield path, node, False
    elif isinstance(node, dict):
        for key, value in node.items():
            inner = f"{path}.{key}"
            yield path, str(key), True
            if inner not in skipped:
                yield from _strings(value, inner, skipped)
    elif isinstance(node, list):
        for at, one in enumerate(node):
            yield from _strings(one, f"{path}[{at}]", skipped)
