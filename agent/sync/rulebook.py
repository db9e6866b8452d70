"""The health rules that bundles bring, compiled once for all apps that have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from agent.health.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agent.contract.healthrule import HealthRule
    from agent.contract.manifest import Manifest
    from agent.health.result import HealthResult
    from agent.health.rules import RuleSet
    from agent.lua.host import LuaHost

_MAX_SETS = 64


class Judge:
    """How one app's objects are judged: by its bundle's rules where it has any, else by the built-in ones.

    `problem` says why the bundle's rules cannot be used; its app is Unknown then, and never green by mistake.
    """

    __slots__ = ("_rules", "problem")

    def __init__(self, rules: RuleSet | None = None, problem: str = "") -> None:
        self._rules = rules
        self.problem = problem

    def __call__(self, obj: Manifest, *, now: datetime | None = None) -> HealthResult:
        return evaluate(obj, now=now) if self._rules is None else self._rules.evaluate(obj, now=now)


BUILT_IN = Judge()


class RuleBook:
    """Gives each app its judge. What rules need is loaded by the first that needs it."""

    def __init__(self) -> None:
        self._known: dict[tuple[HealthRule, ...], Judge] = {}
        self._lua: LuaHost | None = None

    def judge(self, rules: Sequence[HealthRule] | None) -> Judge:
        """The judge for these rules. Never raises: what does not read is the judge's `problem`."""
        if not rules:
            return BUILT_IN
        key = tuple(rules)
        known = self._known.get(key)
        if known is None:
            try:
                known = Judge(self._compiled(key))
            except AxletreeError as error:
                known = Judge(problem=f"{error.reason}: {error}")
            while len(self._known) >= _MAX_SETS:
                self._known.pop(next(iter(self._known)))
            self._known[key] = known
        return known

    def close(self) -> None:
        if self._lua is not None:
            self._lua.close()

    def _compiled(self, rules: Sequence[HealthRule]) -> RuleSet:
        from agent.health.rules import RuleSet  # noqa: PLC0415 - most agents never need it

        if self._lua is None and any(rule.lua for rule in rules):
            from agent.lua.host import LuaHost  # noqa: PLC0415 - nor this

            self._lua = LuaHost()
        return RuleSet(rules, lua=self._lua)
