"""Which notifications concern an object: its own, its set's, its project's. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from agent.contract.canonical import canonical_json
from hub.api.notification import NotificationOfMany
from hub.operator import views

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

_RULES = TypeAdapter(list[NotificationOfMany])
Rule = NotificationOfMany


def rules_of(obj: Manifest, *, owner: Manifest | None, project: Manifest | None) -> tuple[Rule, ...]:
    """One for each sink: what stands nearest to the object wins."""
    child = obj["kind"] == "Application" and views.owner_of(obj) is not None
    found = [*declared(obj)]
    if child and owner is not None:
        found += [rule for rule in declared(owner) if rule.children]
    if project is not None:
        found += [rule for rule in declared(project) if rule.children or not child]
    by_sink: dict[str, Rule] = {}
    for rule in found:
        by_sink.setdefault(rule.sink, rule)
    return tuple(by_sink.values())


def declared(obj: Manifest) -> tuple[Rule, ...]:
    """What an object says itself; what does not read is nothing, and the API server has refused it before."""
    raw: list[Any] = (obj.get("spec") or {}).get("notifications") or []
    return _read(canonical_json(raw)) if raw else ()


@lru_cache(maxsize=1024)
def _read(raw: bytes) -> tuple[Rule, ...]:
    try:
        return tuple(_RULES.validate_json(raw))
    except ValidationError:
        return ()
