"""Health rules from files: our own, and what a user of Argo CD has.

Argo CD keeps its checks as a tree (`resource_customizations/GROUP/KIND/health.lua`, `_` for any) and its users keep
theirs in the ConfigMap `argocd-cm` (`resource.customizations.health.GROUP_KIND`, or all of them in
`resource.customizations`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from agent.contract.healthrule import HealthRule
from agent.health.cel import RuleInvalid
from agent.kube.yaml import load_all, load_value
from hub.cli.files import InvalidFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agent.contract.manifest import Manifest

_TREE, _CHECK = "resource_customizations", "health.lua"
_CUSTOM = "resource.customizations"
_CUSTOM_HEALTH = f"{_CUSTOM}.health."
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_OWN = ("healthRules", "HealthRules")


def read_rules(paths: Iterable[Path]) -> list[HealthRule]:
    """The rules of files and folders, in order. Raises `InvalidFile`, `RuleInvalid`, `YamlError`.

    In a folder, every `health.lua` counts, and every YAML file that speaks of health rules.
    """
    found: list[HealthRule] = []
    for path in paths:
        rules = list(_of_folder(path) if path.is_dir() else _of_file(path))
        if not rules:
            raise InvalidFile(f"there is no health rule in {path}")
        found += rules
    return found


def _of_folder(folder: Path) -> Iterator[HealthRule]:
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    for file in files:
        if file.name == _CHECK:
            yield _of_check(file, folder)
    for file in files:
        if file.suffix in _SUFFIXES and file.parent.name != "testdata":
            text = _text(file)
            if any(word in text for word in (*_OWN, _CUSTOM)):
                yield from _of_text(text, str(file))


def _of_file(file: Path) -> Iterator[HealthRule]:
    if file.name == _CHECK:
        yield _of_check(file, file.absolute().parents[2])
    else:
        yield from _of_text(_text(file), str(file))


def _of_check(file: Path, root: Path) -> HealthRule:
    """One check of a tree, whose folders name group and kind; the core group has none."""
    parts = file.relative_to(root).parent.parts
    if _TREE in parts:
        parts = parts[parts.index(_TREE) + 1 :]
    group, kind = ("", *parts)[-2:] if parts else ("", "")
    return _rule({"group": _glob(group), "kind": _glob(kind), "lua": _text(file)}, str(file))


def _of_text(text: str, source: str) -> Iterator[HealthRule]:
    for document in load_all(text, source=source):
        if _CUSTOM in text and (document.get("kind") == "ConfigMap" or "kind" not in document):
            yield from _customizations(document.get("data") or document, source)
        for each in _own_rules(document):
            yield _rule(each, source)


def _own_rules(document: Manifest) -> list[Any]:
    """`rules` of a HealthRules document, `healthRules` of it or of a spec of our kinds."""
    spec = document.get("spec")
    places = [document, spec] if isinstance(spec, dict) else [document]
    if isinstance(spec, dict) and isinstance(spec.get("template"), dict):
        places.append(spec["template"].get("spec"))
    found: list[Any] = []
    for place in places:
        if isinstance(place, dict):
            found += place.get("healthRules") or ()
            if document.get("kind") == "HealthRules" or "kind" not in document:
                found += place.get("rules") or ()
    return found


def _customizations(data: Manifest, source: str) -> Iterator[HealthRule]:
    for key, value in data.items():
        if key.startswith(_CUSTOM_HEALTH):
            group, _, kind = key.removeprefix(_CUSTOM_HEALTH).rpartition("_")
            yield _rule({"group": group, "kind": kind, "lua": value}, f"{source}: {key}")
        elif key == _CUSTOM:
            every = load_value(value, source=f"{source}: {key}") if isinstance(value, str) else value
            for name, custom in (every or {}).items():
                group, _, kind = name.rpartition("/")
                if isinstance(custom, dict) and custom.get(_CHECK):
                    yield _rule({"group": group, "kind": kind, "lua": custom[_CHECK]}, f"{source}: {name}")


def _rule(fields: Any, source: str) -> HealthRule:
    try:
        return HealthRule.model_validate(fields, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'rule'}: {each['msg']}" for each in error.errors()
        )
        raise RuleInvalid(f"{source}: {said}") from error


def _glob(folder: str) -> str:
    return folder.replace("_", "*")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"{file}: {getattr(error, 'strerror', None) or error}") from error
