"""When a dependency is ready: Healthy, Synced, Released, or what an expression says of it. Pure.

Only what was observed where the edge asks for it counts: at the dependency's own target in its current plan, or with
`at: Any` at what it runs. Expressions are CEL over `dep` and `self`, bounded when they are read and compiled once.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TerminalError
from agent.contract.health import HealthState, SyncState
from agent.health.cel import CelMissing, Expression, RuleInvalid, Undecided
from hub.api.dependency import At, Ready
from hub.core.graph import title
from hub.core.model import Blocker
from hub.core.params import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hub.api.dependency import Dependency
    from hub.core.model import AppNode

CONDITION = "Condition"
_WORDS = frozenset(Ready)
_SELF = ("name", "namespace", "cluster", "labels")
_OBSERVED = ("health", "release", "digest", "outputs")
_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_FIELD = re.compile(r"(?<![\w.])(dep|self)\s*\.\s*([A-Za-z_]\w*)")
_MAX_MICROSECONDS = 2000
_QUOTED = 120


class ConditionInvalid(TerminalError):
    """An edge's expression does not read, or could cost more than a decision may."""

    reason = "ConditionInvalid"


def check_ready(sources: Iterable[str]) -> None:
    """Raise `ConditionInvalid` where the `ready` of an entry of `dependsOn` is none of the words and no expression."""
    for index, source in enumerate(sources):
        problem = _compiled(source) if source not in _WORDS else None
        if isinstance(problem, str):
            raise ConditionInvalid(f"dependsOn[{index}].ready: {problem}")


def unready(node: AppNode, target: AppNode, dependency: Dependency) -> Blocker | None:
    """What keeps `target` from being ready for `node` by this edge; None where it is."""
    released, there = _where(target, dependency)
    seen = target.observed
    match dependency.ready:
        case Ready.RELEASED:
            ready = released
        case Ready.SYNCED:
            ready = there
        case Ready.HEALTHY:
            ready = there and seen is not None and seen.health is HealthState.HEALTHY
        case source if there:
            return _asked(node, target, source)
        case _:
            ready = False
    return None if ready else Blocker("Dependency", target.key, describe(target))


def describe(node: AppNode) -> str:  # noqa: PLR0911 - a table of states
    """What state a node is in, in words, as others see it through an edge."""
    seen = node.observed
    name = title(node)
    if node.deleting:
        return f"{name} is being deleted"
    if node.target_problem:
        return f"{name}: {node.target_problem}"
    if not node.target:
        return f"{name} has no target yet"
    if node.released != node.target:
        return f"{name} is not released to its target yet"
    if seen is None or seen.release != node.release:
        return f"{name} is Syncing"
    if seen.sync is not SyncState.SYNCED:
        return _with(f"{name} is {seen.sync}", seen.message)
    if seen.health.rank >= HealthState.MISSING.rank:
        return _with(f"{name} is {seen.health}", seen.health_message)
    return f"{name} is {seen.health}"


def _where(target: AppNode, dependency: Dependency) -> tuple[bool, bool]:
    """Whether it is released as the edge asks, and observed in full there."""
    if dependency.at is At.TARGET:
        if target.target_problem:
            return False, False
        return bool(target.target) and target.released == target.target, target.at_target
    seen = target.observed
    there = (
        bool(target.released)
        and seen is not None
        and seen.release == target.release
        and seen.digest == target.released
        and seen.sync is SyncState.SYNCED
    )
    return bool(target.released), there


def _asked(node: AppNode, target: AppNode, source: str) -> Blocker | None:
    expression = _compiled(source)
    if isinstance(expression, str):
        return Blocker("Invalid", target.key, f"the edge to {title(target)} does not read: {expression}")
    try:
        value = expression.over({"dep": _dep(node, target), "self": _self(node)}, limit=_MAX_MICROSECONDS)
    except Undecided as error:
        said = f"cannot be told: {error}"
    else:
        if value is True:
            return None
        said = f"gives {type(value).__name__}, not a boolean"
        if value is None:
            said = "reads what is not there yet"
        elif value is False:
            said = "is not true"
    shown = source if len(source) <= _QUOTED else f"{source[: _QUOTED - 3]}..."
    return Blocker(CONDITION, target.key, f"of {title(target)} `{shown}` {said}")


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Expression | str:
    """The expression, or why there is none."""
    try:
        expression = Expression(source)
    except (RuleInvalid, CelMissing) as error:
        return str(error)
    return _unknown(source) or expression


def _unknown(source: str) -> str:
    """A field that neither has: what is misspelt would be waited for without an end."""
    for one, field in _FIELD.findall(_TEXT.sub('""', source)):
        known = (*_SELF, *(_OBSERVED if one == "dep" else ()))
        if field not in known:
            return f"{one} has no {field}{nearest(field, known)}"
    return ""


def _self(node: AppNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "namespace": node.namespace,
        "cluster": node.cluster,
        "labels": dict(node.labels),
    }


def _dep(node: AppNode, target: AppNode) -> dict[str, Any]:
    """What one may know of another: what it was observed to be, and of its outputs those that it may read."""
    seen = target.observed
    found = {
        **_self(target),
        "health": seen.health.value if seen is not None else HealthState.UNKNOWN.value,
        "release": target.release,
        "digest": target.released,
    }
    found["outputs"] = {
        each.name: each.value
        for each in target.outputs
        if each.there and each.digest == target.released and _may_read(node, target, each.name)
    }
    return found


def _may_read(node: AppNode, target: AppNode, output: str) -> bool:
    allowed = target.exports.get(output)
    if allowed is None:
        return False
    return node.namespace == target.namespace or "*" in allowed or node.namespace in allowed


def _with(text: str, message: str) -> str:
    return f"{text}: {message}" if message else text
