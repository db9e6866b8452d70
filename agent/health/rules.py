"""A user's own rules before the built-in ones: which rule judges an object, and what it says. Pure.

Lua runs behind a port, in a process of its own: see `agent.lua`.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.contract.errors import TerminalError
from agent.contract.health import HealthState
from agent.contract.manifest import GroupKind, group_of
from agent.health.cel import Expression, Undecided
from agent.health.evaluate import evaluate, leaving
from agent.health.result import (
    HEALTHY,
    MAX_MESSAGE,
    HealthResult,
    conditions_of,
    is_true,
    not_observed,
    why,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agent.contract.healthrule import HealthRule
    from agent.contract.manifest import Manifest

_WHILE_LEAVING = frozenset({HealthState.PROGRESSING, HealthState.MISSING, HealthState.DEGRADED})
_TELLING = ("Stalled", "Failed", "Ready", "Available", "Synced", "Reconciling")
"""Conditions whose words explain a verdict, in this order."""


class LuaMissing(TerminalError):
    """Rules in Lua are there, and nothing that runs them."""

    reason = "LuaMissing"


class LuaAnswer(NamedTuple):
    """What a script returned: no status where it said nothing, an error where it failed."""

    status: str = ""
    message: str = ""
    error: str = ""


class LuaRunner(Protocol):
    """Runs a script over an object, bounded in time and memory. Never raises: a failure is an answer."""

    def __call__(self, script: str, obj: Manifest) -> LuaAnswer: ...


@dataclass(frozen=True, slots=True)
class _Judge:
    """One rule, compiled."""

    rule: HealthRule
    in_progress: Expression | None
    failed: Expression | None
    suspended: Expression | None
    current: Expression | None
    message: Expression | None

    @classmethod
    def of(cls, rule: HealthRule) -> _Judge:
        def compiled(source: str | None) -> Expression | None:
            return Expression(source) if source else None

        return cls(
            rule,
            compiled(rule.in_progress),
            compiled(rule.failed),
            compiled(rule.suspended),
            compiled(rule.current),
            compiled(rule.message),
        )

    def verdict(self, obj: Manifest) -> HealthResult:
        """In progress, failed, suspended, current: the first that holds. What cannot be told is Unknown."""
        waiting = not_observed(obj)
        if waiting is not None:
            return waiting
        try:
            for expression, state in (
                (self.in_progress, HealthState.PROGRESSING),
                (self.failed, HealthState.DEGRADED),
                (self.suspended, HealthState.SUSPENDED),
                (self.current, HealthState.HEALTHY),
            ):
                if expression is not None and expression.holds(obj):
                    return HEALTHY if state is HealthState.HEALTHY else self._explained(state, obj)
        except Undecided as error:
            return _unknown(f"the rule for {self.rule.kind}: {error}")
        return HEALTHY if self.current is None else self._explained(HealthState.PROGRESSING, obj)

    def _explained(self, state: HealthState, obj: Manifest) -> HealthResult:
        said = None
        if self.message is not None:
            with contextlib.suppress(Undecided):
                said = self.message.value(obj)
        if said is None:
            said = next((why(each) for each in _told(obj, state)), f"by the rule for {self.rule.kind}")
        return HealthResult(state, str(said)[:MAX_MESSAGE])


class RuleSet:
    """Rules by kind. One that names its kind exactly goes before one with a pattern; then the first in order.

    Raises `RuleInvalid` or `CelMissing` for a rule that does not read, `LuaMissing` for Lua with no runner.
    """

    def __init__(self, rules: Iterable[HealthRule], *, lua: LuaRunner | None = None) -> None:
        self._lua = lua
        self._exact: dict[GroupKind, _Judge] = {}
        self._patterns: list[tuple[re.Pattern[str], re.Pattern[str], _Judge]] = []
        for rule in rules:
            if rule.lua and lua is None:
                raise LuaMissing(f"the rule for {rule.kind} is in Lua, which nothing runs here")
            judge = _Judge.of(rule)
            if "*" in rule.group or "*" in rule.kind:
                self._patterns.append((_pattern(rule.group), _pattern(rule.kind), judge))
            else:
                self._exact.setdefault(GroupKind(rule.group, rule.kind), judge)

    def evaluate(self, obj: Manifest, *, now: datetime | None = None) -> HealthResult:
        """As `agent.health.evaluate`, the user's rules first. What is being deleted is Progressing at best."""
        judge = self._for(GroupKind(group_of(str(obj.get("apiVersion", ""))), str(obj.get("kind", ""))))
        if judge is None:
            return evaluate(obj, now=now)
        said = judge.verdict(obj) if judge.rule.lua is None else self._by_lua(judge.rule.lua, obj)
        going = leaving(obj)
        if going is not None:
            return said if said is not None and said.state in _WHILE_LEAVING else going
        return said or evaluate(obj, now=now)

    def _for(self, kind: GroupKind) -> _Judge | None:
        exact = self._exact.get(kind)
        if exact is not None:
            return exact
        for group, name, judge in self._patterns:
            if group.fullmatch(kind.group) and name.fullmatch(kind.kind):
                return judge
        return None

    def _by_lua(self, script: str, obj: Manifest) -> HealthResult | None:
        """The script's verdict; None where it has none, and the built-in rules go on."""
        assert self._lua is not None  # noqa: S101 - looked at when the rule was taken
        answer = self._lua(script, obj)
        if answer.error:
            return _unknown(f"its Lua check: {answer.error}")
        if not answer.status:
            return None
        try:
            return HealthResult(HealthState(answer.status), answer.message[:MAX_MESSAGE])
        except ValueError:
            return _unknown(f"its Lua check gives the status {answer.status[:64]!r}")


def _told(obj: Manifest, state: HealthState) -> list[dict[str, object]]:
    """The conditions that may explain a verdict which is not Healthy."""
    conditions = conditions_of(obj)
    bad = {"Stalled", "Failed", "Reconciling"}
    known = [(name, conditions[name]) for name in _TELLING if name in conditions]
    told = [each for name, each in known if is_true(each) == (name in bad)]
    return told if state is not HealthState.HEALTHY else []


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile("".join(".*" if char == "*" else re.escape(char) for char in glob))


def _unknown(message: str) -> HealthResult:
    return HealthResult(HealthState.UNKNOWN, message[:MAX_MESSAGE])
