"""Which of a set's generators see which clusters, and the same set narrowed to a few of them. Pure, and light.

One cluster's change must not cost a whole expansion. Where a generator gives each cluster's parameters by
themselves, those of the clusters that moved are made again, and the others stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hub.core.templating import is_template

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hub.core.params import Params

_ASKING = frozenset({"scmProvider", "pullRequest", "plugin"})
"""They ask somebody, who may answer differently each time: nothing of an earlier answer is put beside a new one."""
_NOTHING: Mapping[str, Any] = {"list": {"elements": []}}


class Sight(StrEnum):
    BLIND = "Blind"
    """No cluster's change makes a difference to it."""
    ROWS = "Rows"
    """Each of its parameter sets is of one cluster, and depends on no other."""
    WHOLE = "Whole"
    """Anything else."""


def sight_of(generator: Any) -> Sight:
    """How a generator sees clusters. For one that no expansion accepts, any answer will do."""
    if not isinstance(generator, Mapping):
        return Sight.WHOLE
    kind = next((kind for kind, spec in generator.items() if kind in _KINDS and spec is not None), "")
    if kind in _BLIND:
        return Sight.BLIND
    spec = generator[kind] if kind else None
    if not isinstance(spec, Mapping):
        return Sight.WHOLE
    if kind == "clusters":
        named = any(is_template(str(name)) for name in spec.get("names") or ())
        return Sight.WHOLE if spec.get("flatList") or named else Sight.ROWS
    inner = spec.get("generators")
    return _combined(kind, inner) if isinstance(inner, list) else Sight.WHOLE


def _combined(kind: str, inner: list[Any]) -> Sight:
    seen = [each for one in inner if (each := sight_of(one)) is not Sight.BLIND]
    if not seen:
        return Sight.BLIND
    alone = kind == "matrix" and seen == [Sight.ROWS]
    return Sight.ROWS if alone and all(map(_repeats, inner)) else Sight.WHOLE


_BLIND = frozenset({"list", "git", *_ASKING})
_KINDS = frozenset({"clusters", "matrix", "merge", "clusterDecisionResource", *_BLIND})


def narrowed(
    generators: Sequence[Mapping[str, Any]], clusters: Collection[str]
) -> list[Mapping[str, Any]] | None:
    """The generators with the rows of these clusters alone, each at its place; None where one needs all of them.

    None at all where no generator sees clusters. A fleet of these clusters alone is meant to be beside it.
    """
    sights = [sight_of(one) for one in generators]
    if Sight.WHOLE in sights:
        return None
    if Sight.ROWS not in sights:
        return []
    return [
        _narrowed(one, clusters) if sight is Sight.ROWS else _NOTHING
        for one, sight in zip(generators, sights, strict=True)
    ]


def origin_of(sight: Sight, params: Params) -> str:
    """The cluster that a parameter set is of; empty where it is of none, or of all."""
    if sight is not Sight.ROWS:
        return ""
    found: str = params["name"]  # `cluster` may be the set's own word
    return found


def _repeats(generator: Any) -> bool:
    """Whether what it reads is the same for each row, and was read before."""
    for kind, spec in generator.items() if isinstance(generator, Mapping) else ():
        if kind in _ASKING:
            return False
        if not isinstance(spec, Mapping):
            continue
        if kind == "git" and any(is_template(str(spec.get(each, ""))) for each in ("repoURL", "revision")):
            return False
        inner = spec.get("generators")
        if isinstance(inner, list) and not all(map(_repeats, inner)):
            return False
    return True


def _narrowed(generator: Mapping[str, Any], clusters: Collection[str]) -> Mapping[str, Any]:
    """A generator that gives rows, of these clusters alone."""
    if generator.get("clusters") is not None:
        spec = generator["clusters"]
        names = spec.get("names")
        if not names:
            return generator
        inside = [name for name in names if name in clusters]
        if inside or spec.get("selector") is not None or spec.get("clusterSet"):
            return {**generator, "clusters": {**spec, "names": inside}}
        return {**{key: generator[key] for key in generator if key != "clusters"}, **_NOTHING}
    inner = [
        _narrowed(one, clusters) if sight_of(one) is Sight.ROWS else one
        for one in generator["matrix"]["generators"]
    ]
    return {**generator, "matrix": {**generator["matrix"], "generators": inner}}
