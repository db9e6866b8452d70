"""Which notifications concern an object: its own, its set's, its project's; a cluster's are its sets'. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from agent.contract.canonical import canonical_json
from hub.api.notification import NotificationOfMany
from hub.operator import views

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    return _by_sink(found)


def nearest(objects: Iterable[Manifest]) -> tuple[Rule, ...]:
    """One for each sink, of the first of these objects that has one."""
    return _by_sink(rule for obj in objects for rule in declared(obj))


def _by_sink(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    found: dict[str, Rule] = {}
    for rule in rules:
        found.setdefault(rule.sink, rule)
    return tuple(found.values())


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
