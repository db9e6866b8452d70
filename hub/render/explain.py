"""Which layer made a field what it is: the stages of a rendering, compared one after the other. Pure.

Values of Secrets are never said, only that they changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agent.contract.errors import TerminalError
from agent.contract.manifest import ref_of
from hub.render.chart import ChartSource
from hub.render.lines import line_of_field, lines_of_value
from hub.render.plain import PlainSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.contract.manifest import GroupKind, Manifest
    from hub.render.pipeline import AnySource, Stage

Path: TypeAlias = tuple[str | int, ...]
ABSENT: Final = object()
"""What a field is that is not there: null is a value."""
HIDDEN = "(secret)"
CHART_DEFAULTS, DEFAULTS_FILE = "chart defaults", "values.yaml"
_PART = re.compile(r"""\.?([^.\[\]'"]+)|\[(\d+)\]|\[(['"])(.*?)\3\]""")
_STAGE = re.compile(r"(source \d+: )?(.*)", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


class TooMuchToTell(TerminalError):
    """The answer would be too large: one field of the object has to be named."""

    reason = "TooMuchToTell"


class NoSuchField(TerminalError):
    """The path is none, or nothing is at it in any stage."""

    reason = "NoSuchField"


class NoSuchObject(TerminalError):
    """The Application has no object of that kind and name."""

    reason = "NoSuchObject"


@dataclass(frozen=True, slots=True)
class Touch:
    """One stage that changed one field. `at` is a file, and a line where it is known."""

    stage: str
    path: Path
    before: Any
    after: Any
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"stage": self.stage, "field": path_text(self.path)}
        found |= {} if self.before is ABSENT else {"before": self.before}
        found |= {} if self.after is ABSENT else {"after": self.after}
        return {**found, "at": self.at} if self.at else found

    def to_wire(self) -> dict[str, Any]:
        found: dict[str, Any] = {"stage": self.stage, "path": self.path, "at": self.at}
        found |= {} if self.before is ABSENT else {"before": self.before}
        return found if self.after is ABSENT else {**found, "after": self.after}

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> Touch:
        before, after = data.get("before", ABSENT), data.get("after", ABSENT)
        return Touch(data["stage"], tuple(data["path"]), before, after, data["at"])


def parse_path(text: str) -> Path:
    """`.spec.containers[0].image`, `metadata.labels['a.b/c']`. Raises `NoSuchField`."""
    found: list[str | int] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise NoSuchField(f"{text!r} is no path of a field: write .spec.replicas or .a['b.c'][0]")
        found.append(int(match[2]) if match[2] else match[1] or match[4])
        at = match.end()
    return tuple(found)


def path_text(path: Path) -> str:
    """The path as people write it."""
    parts = []
    for one in path:
        if isinstance(one, int):
            parts.append(f"[{one}]")
        else:
            parts.append(f".{one}" if _PLAIN.fullmatch(one) else f"['{one}']")
    return "".join(parts)


def find_object(objects: Iterable[Manifest], kind: str, name: str) -> Manifest:
    """The object of that kind (in any case, also in the plural) and name. Raises `NoSuchObject`."""
    found = list(objects)
    wanted = kind.lower().partition(".")[0]
    for one in found:
        own = str(one["kind"]).lower()
        if wanted in (own, f"{own}s", f"{own}es") and one["metadata"]["name"] == name:
            return one
    known = ", ".join(sorted(f"{str(one['kind']).lower()}/{one['metadata']['name']}" for one in found)[:20])
    raise NoSuchObject(f"there is no {kind}/{name}; there are: {known or 'none'}")


def explain(
    stages: Sequence[Stage], target: Manifest, field: Path, *, texts: Mapping[str, str]
) -> list[Touch]:
    """What each stage did to the field (or to what is below it), in order.

    `target` is the object as it ends. `texts` are contents by stage's name or by file, to find lines in.
    Raises `NoSuchField` where no stage ever had it.
    """
    found: list[Touch] = []
    before: Any = ABSENT
    hidden: set[Path] = set()
    stay = {_named(one) for one in (stages[-1].objects if stages else ())} - {_named(target)}
    for stage in stages:
        if stage.problem:
            continue
        one = same_object((one for one in stage.objects if _named(one) not in stay), target)
        after = ABSENT if one is None else value_at(one, field)
        for path, old, new in _changes(before, after, field):
            at = _where(stage, one, path, new, texts)
            was_hidden = path in hidden
            (hidden.add if stage.secret else hidden.discard)(path)
            if stage.secret or was_hidden:
                shown = _hidden(new) if stage.secret or _is_secret(target, path) else new
                found.append(Touch(stage.name, path, _hidden(old) if was_hidden else old, shown, at))
            elif _is_secret(target, path):
                found.append(Touch(stage.name, path, _hidden(old), _hidden(new), at))
            else:
                found.append(Touch(stage.name, path, old, new, at))
        before = after
    if not found:
        raise NoSuchField(f"{path_text(field)}: no layer has it")
    return found


def texts_of(sources: Iterable[AnySource]) -> dict[str, str]:
    """Contents in which a line can be looked for, by the name of a stage or a file; each source's own, of several."""
    found: dict[str, str] = {}
    given = list(sources)
    for number, source in enumerate(given, 1):
        prefix = f"source {number}: " if len(given) > 1 else ""
        found |= {f"{prefix}{name}": text for name, text in _texts(source)}
    return found


def _texts(source: AnySource) -> Iterator[tuple[str, str]]:
    match source:
        case PlainSource():
            yield from source.files.items()
        case ChartSource():
            files = {path: text for path, text in source.files.items() if isinstance(text, str)}
            yield from files.items()
            yield CHART_DEFAULTS, files.get(DEFAULTS_FILE, "")
            yield from ((layer.name, layer.text) for layer in source.layers if layer.text is not None)


def _named(one: Manifest) -> tuple[GroupKind, str]:
    ref = ref_of(one)
    return ref.group_kind, ref.name


def same_object(objects: Iterable[Manifest], target: Manifest) -> Manifest | None:
    """The object in an earlier stage that became the target: of its name, else of a part of it.

    Kustomize adds prefixes and suffixes, also hashes.
    """
    wanted = ref_of(target)
    near: list[Manifest] = []
    for one in objects:
        ref = ref_of(one)
        if ref.group_kind != wanted.group_kind:
            continue
        if ref.name == wanted.name and (not ref.namespace or ref.namespace == wanted.namespace):
            return one
        if ref.name in wanted.name:
            near.append(one)
    return max(near, key=lambda one: len(one["metadata"]["name"]), default=None)


def value_at(node: Any, path: Path) -> Any:
    """What stands at a path; `ABSENT` where nothing does."""
    for part in path:
        match node, part:
            case list(), int() if part < len(node):
                node = node[part]
            case dict(), _ if part in node:
                node = node[part]
            case _:
                return ABSENT
    return node


def _changes(before: Any, after: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """(path, before, after) of every leaf that differs."""
    if isinstance(before, dict | list) and isinstance(after, dict | list) and type(before) is type(after):
        keys: Iterable[Any] = range(max(len(before), len(after)))
        if isinstance(before, dict):
            keys = dict.fromkeys([*before, *after])
        for key in keys:
            yield from _changes(value_at(before, (key,)), value_at(after, (key,)), (*path, key))
    elif json.dumps(before, default=str) != json.dumps(after, default=str):
        yield path, before, after


def _where(stage: Stage, one: Manifest | None, path: Path, value: Any, texts: Mapping[str, str]) -> str:
    """The file, and the line where exactly one says it."""
    split = _STAGE.fullmatch(stage.name)
    prefix, layer = (split[1] or "", split[2]) if split else ("", stage.name)
    origin = stage.origins.get(str(ref_of(one))) if one is not None else None
    own = texts.get(stage.name)
    if own is not None:
        name = DEFAULTS_FILE if layer == CHART_DEFAULTS else layer
        lines = lines_of_value(own, value, name=path[-1] if path else "")
        return f"{name}:{lines[0]}" if len(lines) == 1 else name
    if origin is None or one is None:
        return ""
    text = texts.get(f"{prefix}{origin}")
    line = line_of_field(text, one, path) if text is not None else None
    return f"{origin}:{line}" if line else origin


def _is_secret(target: Manifest, path: Path) -> bool:
    return target.get("kind") == "Secret" and path[:1] in ((), ("data",), ("stringData",))


def _hidden(value: Any) -> Any:
    return value if value is ABSENT else HIDDEN
