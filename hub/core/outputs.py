"""What apps export, as the hub keeps it: the last good value of each output, checked on arrival. Pure.

An agent says its outputs only while the app is Healthy at the digest that the report names, and says nothing about
them otherwise: so a report without them changes nothing, and one with a problem keeps the value that was good.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from agent.contract.canonical import canonical_json
from agent.contract.health import HealthState, SyncState
from agent.contract.output import MAX_VALUE
from hub.core.sealed import Relay, relays_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hub.api.flow import Output
    from hub.core.model import Observed

_MAX_PROBLEM = 512
_MAX_SCHEMA = 16 * 1024
_MAX_DEPTH = 32
_INTEGER = 2**63
_EXPONENT = 1e21
"""From here on a whole number is written with an exponent, and read as a floating one."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One output. `text` is the last good value as canonical JSON; empty where there never was one."""

    name: str
    text: str = ""
    digest: str = ""
    """Of the app when it was last reported with this value."""
    revision: str = ""
    at: str = ""
    problem: str = ""
    """Why the newest report has no good value for it."""
    problem_at: str = ""
    """The digest at which there was that problem."""
    mark: str = ""
    """Of a sealed one, which has no text."""
    relays: tuple[Relay, ...] = ()
    """Of a sealed one: for each who takes it."""

    @property
    def there(self) -> bool:
        return bool(self.text or self.mark)

    @property
    def value(self) -> Any:
        return json.loads(self.text)

    def to_json(self) -> dict[str, Any]:
        """As an entry of `status.outputs`."""
        found: dict[str, Any] = {"name": self.name}
        if self.mark:
            found |= {"mark": self.mark, "sealed": [each.to_json() for each in self.relays]}
        elif self.there:
            found["value"] = self.value
        else:
            found["missing"] = True
        rest = {"digest": self.digest, "revision": self.revision, "at": self.at, "problem": self.problem}
        return found | {key: text for key, text in rest.items() if text}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Exported:
        mark = str(entry.get("mark", ""))
        return cls(
            name=str(entry.get("name", "")),
            text="" if entry.get("missing") or mark else canonical_json(entry.get("value")).decode(),
            mark=mark,
            relays=tuple(Relay.from_json(each) for each in entry.get("sealed") or ()),
            digest=str(entry.get("digest", "")),
            revision=str(entry.get("revision", "")),
            at=str(entry.get("at", "")),
            problem=str(entry.get("problem", "")),
            problem_at=str(entry.get("digest", "")) if entry.get("problem") else "",
        )


def exported(
    declared: Sequence[Output],
    held: Iterable[Exported],
    seen: Observed | None,
    *,
    released: str,
    revision: str,
    posted: Iterable[Mapping[str, Any]] = (),
    producer: str = "",
) -> tuple[Exported, ...]:
    """What holds after a report, in the order of declaration. `revision` is that of `released`.

    `producer` is the app, as sealed values are bound to it.
    `posted` is what programs said of external outputs, which holds at any digest.

    What is no longer declared is forgotten; what was declared and not reported yet is not there.
    """
    if not declared:
        return ()
    before = {each.name: each for each in held}
    said: Mapping[str, Mapping[str, Any]] = {}
    hidden: Mapping[str, Mapping[str, Any]] = {}
    if seen is not None and _counts(seen, released):
        said = {str(each.get("name", "")): each for each in seen.outputs or ()}
        hidden = {str(each.get("name", "")): each for each in seen.sealed_outputs or ()}
    found = []
    told = {str(each.get("name", "")): each for each in posted}
    for rule in declared:
        if rule.external:
            outside = told.get(rule.name)
            found += [_posted(rule, outside, released=released, revision=revision)] if outside else []
            continue
        last = before.get(rule.name)
        if last is not None and rule.sealed != bool(last.mark) and last.there:
            last = None  # it was declared otherwise: what was in the clear is no secret, nor the other way
        new = (hidden if rule.sealed else said).get(rule.name)
        if new is not None and seen is not None:
            take = partial(_sealed, producer) if rule.sealed else _taken
            last = take(rule, last, new, seen, revision=revision)
        if last is not None:
            found.append(last)
    return tuple(found)


def _posted(rule: Output, said: Mapping[str, Any], *, released: str, revision: str) -> Exported:
    problem, text = checked(rule, json.dumps(said.get("value"), ensure_ascii=False))
    at = str(said.get("at", ""))
    if problem:
        return Exported(rule.name, digest=released, problem=problem, problem_at=released)
    return Exported(rule.name, text, released, revision, at)


def _counts(seen: Observed, released: str) -> bool:
    """Whether the report is of what was released, in full and well: only then its outputs mean anything."""
    healthy = seen.health is HealthState.HEALTHY and seen.sync is SyncState.SYNCED
    return healthy and bool(released) and seen.digest == released


def _taken(
    rule: Output, last: Exported | None, said: Mapping[str, Any], seen: Observed, *, revision: str
) -> Exported:
    last = last or Exported(rule.name)
    raw = said.get("value")
    problem = str(said.get("problem") or "")
    if not problem and isinstance(raw, str):
        problem, text = checked(rule, raw)
        if not problem:
            if (text, seen.digest) == (last.text, last.digest):
                return replace(last, problem="", problem_at="")
            return Exported(rule.name, text, seen.digest, revision, seen.observed_at)
    said_problem = (problem or "it was reported without a value")[:_MAX_PROBLEM]
    if not last.there:
        return Exported(rule.name, digest=seen.digest, problem=said_problem, problem_at=seen.digest)
    return replace(last, problem=said_problem, problem_at=seen.digest)


def _sealed(
    producer: str,
    rule: Output,
    last: Exported | None,
    said: Mapping[str, Any],
    seen: Observed,
    *,
    revision: str,
) -> Exported:
    """Of a sealed one: what each who takes it had stays, unless the value or its key is another."""
    last = last or Exported(rule.name)
    problem, mark = str(said.get("problem") or ""), str(said.get("mark") or "")
    if problem or not mark:
        said_problem = (problem or "it was reported without a value")[:_MAX_PROBLEM]
        digest = last.digest if last.there else seen.digest
        return replace(last, digest=digest, problem=said_problem, problem_at=seen.digest)
    known = {each.same: each for each in last.relays}
    relays = tuple(known.get(each.same, each) for each in relays_of(producer, said))
    if (mark, seen.digest, relays) == (last.mark, last.digest, last.relays):
        return replace(last, problem="", problem_at="")
    at = last.at if mark == last.mark else seen.observed_at
    return Exported(rule.name, "", seen.digest, revision, at, mark=mark, relays=relays)


def checked(rule: Output, raw: str) -> tuple[str, str]:
    """(problem, canonical text) of a value as it came over the wire: data from elsewhere, whoever sent it."""
    if len(raw) > MAX_VALUE:
        return f"OutputTooLarge: a value has at most {MAX_VALUE} bytes", ""
    try:
        value = _kept(json.loads(raw), depth=0)
        text = canonical_json(value).decode()
    except _Unfit as error:
        return f"OutputInvalid: {error}", ""
    except (ValueError, RecursionError):
        return "OutputInvalid: it is no JSON value", ""
    if len(text.encode()) > MAX_VALUE:
        return f"OutputTooLarge: a value has at most {MAX_VALUE} bytes", ""
    if rule.schema_ is not None:
        problem = refused_by(rule.schema_, value)
        if problem:
            return f"OutputInvalid: {problem}", ""
    return "", text


class _Unfit(ValueError):
    """JSON that the API server would not give back as it is."""


def _kept(value: Any, *, depth: int) -> Any:
    """The value as an API server gives it back: whole numbers are integers, of 64 bits. Raises `_Unfit`.

    A value that came back as another one would look like a new one after each restart.
    """
    if depth > _MAX_DEPTH:
        raise _Unfit(f"it is nested deeper than {_MAX_DEPTH}")
    match value:
        case dict():
            return {key: _kept(inner, depth=depth + 1) for key, inner in value.items()}
        case list():
            return [_kept(inner, depth=depth + 1) for inner in value]
        case float() if value.is_integer() and abs(value) < _EXPONENT:
            return _kept(int(value), depth=depth)
        case int() if not -_INTEGER <= value < _INTEGER:
            raise _Unfit("a number in it does not fit into 64 bits: write it as text")
        case _:
            return value


def schema_problem(schema: Mapping[str, Any]) -> str:
    """Why a schema cannot be used; empty where it can."""
    text = canonical_json(schema).decode()
    if len(text) > _MAX_SCHEMA:
        return f"a schema has at most {_MAX_SCHEMA} bytes"
    try:
        _validator(text)
    except ValueError as error:
        return str(error).splitlines()[0][:_MAX_PROBLEM]
    return ""


def refused_by(schema: Mapping[str, Any], value: Any) -> str:
    """Why the schema refuses the value, without the value; empty where it does not."""
    problem = schema_problem(schema)
    if problem:
        return f"its schema does not read: {problem}"
    error = next(iter(_validator(canonical_json(schema).decode()).iter_errors(value)), None)
    if error is None:
        return ""
    where = "/".join(str(part) for part in error.instance_path)
    kind = "/".join(str(part) for part in error.schema_path)
    return f"the schema refuses it{f' at {where}' if where else ''} ({kind})"[:_MAX_PROBLEM]


@lru_cache(maxsize=1024)
def _validator(text: str) -> jsonschema_rs.Validator:
    """Compiled. Raises ValueError. Patterns run in linear time, and nothing is fetched for a `$ref`."""
    return jsonschema_rs.validator_for(
        json.loads(text), pattern_options=jsonschema_rs.RegexOptions(), offline=True
    )
