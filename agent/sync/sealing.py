"""Sealed outputs of one app, for each who takes them. Pure but for the encryption's own randomness.

A value is sealed anew only where it, its taker's key or the list of takers changed: a new text of the same value would
be a new release for whoever takes it.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json
from agent.contract.errors import AxletreeError
from agent.contract.handover import SealedReport, hand_over, key_id, mark_of
from agent.contract.output import MAX_VALUE
from agent.sync.readable import MAX_PROBLEM, OutputUnreadable, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from agent.contract.handover import Handover, Recipient
    from agent.contract.manifest import Manifest
    from agent.contract.output import SealedRule


def sealed(
    app: str,
    rule: SealedRule,
    obj: Manifest | AxletreeError | None,
    recipients: Iterable[Recipient],
    *,
    digest: str,
    marking: bytes,
    before: SealedReport | None,
    evaluate: Callable[[str, Manifest], Any],
) -> SealedReport:
    """One output as it is told now; `marking` is the agent's `mark_key`, `evaluate` gives an expression's value.

    Never raises.
    """
    try:
        text = _text(rule, readable(rule, obj), evaluate)
    except AxletreeError as error:
        return SealedReport(name=rule.name, problem=f"{error.reason}: {error}"[:MAX_PROBLEM])
    mark = mark_of(text, producer=app, name=rule.name, key=marking)
    known = {} if before is None or before.mark != mark else _by_taker(before.handovers)
    found = []
    for each in recipients:
        if each.output != rule.name:
            continue
        try:
            told = known.get((each.consumer, key_id(base64.b64decode(each.key))))
            found.append(told or hand_over(text, each, digest=digest))
        except ValueError:
            continue  # a key that is none: its cluster has to join again
    return SealedReport(name=rule.name, mark=mark, handovers=found)


def _by_taker(handovers: Sequence[Handover]) -> Mapping[tuple[str, str], Handover]:
    return {(each.consumer, each.key): each for each in handovers}


def _text(rule: SealedRule, obj: Manifest, evaluate: Callable[[str, Manifest], Any]) -> str:
    """The value as text: as it is, or as JSON where it is none. Raises `OutputUnreadable`."""
    if (obj.get("apiVersion"), obj.get("kind")) == ("v1", "Secret"):
        obj = obj | {"data": _decoded(obj.get("data") or {})}
    try:
        value = evaluate(rule.value, obj)
    except AxletreeError as error:  # whose words may hold a value
        raise OutputUnreadable(f"{rule.value[:80]!r} cannot be evaluated") from error
    if value is None:
        raise OutputUnreadable(f"{rule.value[:80]!r} gives nothing yet")
    try:
        text = value if isinstance(value, str) else canonical_json(value).decode()
    except (TypeError, ValueError) as error:
        raise OutputUnreadable(f"it gives a {type(value).__name__}, which is no JSON value") from error
    if len(text.encode()) > MAX_VALUE:
        raise OutputUnreadable(f"its value has more than {MAX_VALUE} bytes")
    return text


def _decoded(data: Mapping[str, str]) -> dict[str, str]:
    """A Secret's data as text; what is no text stays in base64."""
    found = {}
    for name, value in data.items():
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except ValueError:
            found[name] = value
    return found
