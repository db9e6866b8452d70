"""Argo CD's generators as ours: mostly the same names, their texts in Jinja2."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.importers.fasttemplate import GitParams, expression, fast_to_jinja, unflattened
from hub.importers.golex import Untranslatable
from hub.importers.gotemplate import go_to_jinja
from hub.importers.jinjatext import as_texts, plain

if TYPE_CHECKING:
    from hub.importers.notes import Notes

_COMBINED = ("matrix", "merge")
KINDS = (
    "list",
    "clusters",
    "git",
    "scmProvider",
    "pullRequest",
    "plugin",
    "clusterDecisionResource",
    *_COMBINED,
)
_MAX_INNER = 8
"""How many our kinds take."""
_STARS = re.compile(r"(?P<folder>(?:(?<=/)|^)\*+/)|\*+")
_SUBSCRIPT = str.maketrans({"[": ".", "]": None, '"': None})


@dataclass(frozen=True, slots=True)
class Words:
    """Translates one set's templates."""

    go: bool
    lenient: bool
    git: GitParams
    notes: Notes

    def text(self, value: str, path: str) -> str:
        """The text in Jinja2's words; what has no equal is noted, and stays as plain text."""
        try:
            return go_to_jinja(value, lenient=self.lenient) if self.go else fast_to_jinja(value, self.git)
        except Untranslatable as error:
            self.notes.lost(path, str(error))
            return plain(value)

    def value(self, value: Any, path: str) -> Any:
        """Every text in the value."""
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, list):
            return [self.value(one, f"{path}[{at}]") for at, one in enumerate(value)]
        if isinstance(value, Mapping):
            for key in value:
                if "{{" in str(key):
                    self.notes.lost(path, f'the key "{key}" is a template')
            return {key: self.value(one, f"{path}.{key}") for key, one in value.items()}
        return value

    def key(self, name: str) -> str:
        """A parameter's key, as selectors and merge keys name it."""
        return (
            name if self.go else expression(name, self.git).text.removeprefix("params").translate(_SUBSCRIPT)
        )


def leaves(generators: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every generator that is not made of others, at any depth, with its kind."""
    for generator in generators:
        for kind in KINDS:
            spec = (generator or {}).get(kind)
            if spec is None:
                continue
            if kind in _COMBINED:
                yield from leaves(spec.get("generators") or [])
            else:
                yield kind, spec


def git_params(generators: list[Any]) -> GitParams:
    """The prefixes of its `git` generators."""
    return GitParams(
        frozenset(spec.get("pathParamPrefix") or "" for kind, spec in leaves(generators) if kind == "git")
    )


def cluster_template(generators: list[Any]) -> str:
    """How a template names the cluster at `{{ server }}`, where each generator has one within it that gives clusters.

    By a parameter that no other generator of the set gives as well; empty where there is none.
    """
    gives = (
        any(kind in ("clusters", "clusterDecisionResource") for kind, _ in leaves([generator]))
        for generator in generators
    )
    if not generators or not all(gives):
        return ""
    found = list(leaves(generators))
    taken = {
        key for kind, spec in found if kind == "list" for one in spec.get("elements") or [] for key in one
    }
    free = all(
        kind in ("clusters", "list", "clusterDecisionResource") or spec.get("directories")
        for kind, spec in found
    )
    if free and "cluster" not in taken and not any(spec.get("elementsYaml") for _, spec in found):
        return "{{ cluster.name }}"
    return "" if "name" in taken else "{{ name }}"


def generator(
    value: Mapping[str, Any], words: Words, template: Callable[[Mapping[str, Any]], Any], *, path: str
) -> dict[str, Any]:
    """One generator. `template` converts its own template, which ours have beside the kind."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        if value.get(kind) is None:
            continue
        spec = dict(value[kind])
        own = spec.pop("template", None)
        found[kind] = _kind(kind, spec, words, path=f"{path}.{kind}")
        if own:
            converted = template(own)
            if converted:
                found["template"] = converted
    if value.get("selector"):
        found["selector"] = _selector(value["selector"], words)
    words.notes.lost_keys(value, (*KINDS, "selector"), path)
    return found


def _kind(kind: str, spec: dict[str, Any], words: Words, *, path: str) -> dict[str, Any]:
    if kind == "git" and spec.pop("requeueAfterSeconds", None):
        words.notes.differs(
            f"{path}.requeueAfterSeconds", "left out: the hub polls by itself, and by webhooks"
        )
    if kind == "clusters" and not spec.get("selector") and not spec.get("names"):
        words.notes.differs(
            path, "Argo CD's own cluster is in it there; here the hub is not, unless `names` has it"
        )
    if kind == "list" and not words.go:
        spec["elements"] = [unflattened(one) for one in spec.get("elements") or []]
    if kind == "git":
        spec |= _globbed(spec, words, path=path)
    values = spec.pop("values", None)
    own = {"values": as_texts(words.value(values, f"{path}.values"))} if values else {}
    if kind not in _COMBINED:
        return {**words.value(spec, path), **own}
    inner = [
        generator(one, words, lambda _: None, path=f"{path}.generators[{at}]")
        for at, one in enumerate(spec.pop("generators", None) or [])
    ]
    if spec.get("mergeKeys"):
        spec["mergeKeys"] = [words.key(one) for one in spec["mergeKeys"]]
        while len(inner) > _MAX_INNER:  # each is laid over those before it, however they are bracketed
            first = {"merge": {"mergeKeys": spec["mergeKeys"], "generators": inner[:_MAX_INNER]}}
            inner = [first, *inner[_MAX_INNER:]]
    return {**words.value(spec, path), **own, "generators": inner}


def _globbed(spec: Mapping[str, Any], words: Words, *, path: str) -> dict[str, Any]:
    """Its globs in our words. There `**` of directories is `*`, and `*` of files crosses `/`."""
    found: dict[str, Any] = {}
    for key, ours in (("directories", _of_directories), ("files", _of_files)):
        if spec.get(key):
            found[key] = [
                {**one, "path": _outside_templates(str(one.get("path") or ""), ours)} for one in spec[key]
            ]
    if found.get("files", spec.get("files")) != spec.get("files"):
        words.notes.differs(
            f"{path}.files",
            "`*` is `**` here where it may cross `/`; where Argo CD's new globbing is on, it may not",
        )
    return found


def _outside_templates(glob: str, change: Callable[[str], str]) -> str:
    return "".join(
        part if part.startswith("{{") else change(part)
        for part in re.split(r"(\{\{.*?\}\})", glob, flags=re.DOTALL)
    )


def _of_directories(glob: str) -> str:
    return re.sub(r"\*+", "*", glob)


def _of_files(glob: str) -> str:
    """As Git's own patterns have it; a whole segment of stars is one folder at least."""
    return _STARS.sub(lambda stars: "*/**/" if stars["folder"] else "**", glob)


def _selector(value: Mapping[str, Any], words: Words) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if value.get("matchLabels"):
        found["matchLabels"] = {words.key(key): one for key, one in value["matchLabels"].items()}
    if value.get("matchExpressions"):
        found["matchExpressions"] = [
            {**one, "key": words.key(one["key"])} for one in value["matchExpressions"]
        ]
    return found
