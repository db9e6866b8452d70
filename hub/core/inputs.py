"""Where an app's inputs come from, and whether they may be bound now. Pure.

A child's target is made once all its producers are Healthy at theirs: so that one commit is one release, also where
it changes both sides. What is bound stays while a producer is away or unwell.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json, sha256_hex
from hub.api.dependency import Scope
from hub.api.flow import InputStale
from hub.core.edges import refused, waits_for, words
from hub.core.graph import title
from hub.core.model import Blocker
from hub.core.sealed import Relay, key_of, may_read, takes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from hub.api.flow import Input
    from hub.core.graph import AppGraph, ResolvedEdge
    from hub.core.model import AppKey, AppNode, Fleet
    from hub.core.outputs import Exported

MISSING, FLAPPING = "MissingInput", "InputsFlapping"
WINDOW = timedelta(minutes=10)
LIMIT = 6
"""New values that an app takes within the window; further ones wait."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Values by name, and the apps that each came from; none for a default."""

    values: Mapping[str, Any]
    origins: Mapping[str, tuple[AppKey, ...]]
    declared: Mapping[str, str]
    """A mark of each input as it was declared: values of others than are asked for now are none."""
    relays: Mapping[str, Relay] = field(default_factory=dict)
    """Of sealed inputs, which have no value here."""

    @property
    def text(self) -> bytes:
        """Equal for equal values."""
        return canonical_json([self.values, {name: each.same for name, each in self.relays.items()}])

    @property
    def names(self) -> list[str]:
        return [*self.values, *self.relays]

    def to_json(self, *, at: str) -> list[dict[str, Any]]:
        """As `status.inputs`."""
        what: dict[str, dict[str, Any]] = {name: {"value": value} for name, value in self.values.items()}
        what |= {name: {"sealed": each.to_json()} for name, each in self.relays.items()}
        return [
            {
                "as": name,
                **one,
                "from": list(self.origins.get(name, ())),
                "at": at,
                "declared": self.declared.get(name, ""),
            }
            for name, one in what.items()
        ]

    @staticmethod
    def from_json(entries: Sequence[Mapping[str, Any]]) -> Bound:
        return Bound(
            {str(each["as"]): each.get("value") for each in entries if not each.get("sealed")},
            {str(each["as"]): tuple(each.get("from") or ()) for each in entries},
            {str(each["as"]): str(each.get("declared", "")) for each in entries},
            {str(each["as"]): Relay.from_json(each["sealed"]) for each in entries if each.get("sealed")},
        )


def declared(inputs: Iterable[Input]) -> dict[str, str]:
    """A mark of each input, by its name, that changes with whatever is declared of it."""
    return {each.as_: sha256_hex(canonical_json(each.to_json()))[:12] for each in inputs}


def bind(node: AppNode, graph: AppGraph, fleet: Fleet) -> Bound | tuple[Blocker, ...]:
    """The values that the node's inputs have now; else what each missing one waits for."""
    values: dict[str, Any] = {}
    origins: dict[str, tuple[AppKey, ...]] = {}
    relays: dict[str, Relay] = {}
    waits: list[Blocker] = []
    for one, edge in takes(node, graph):
        found = _one(node, one, edge, graph, fleet)
        if isinstance(found, Blocker):
            waits.append(found)
            continue
        value, origins[one.as_] = found
        if one.secret is not None:
            relays[one.as_] = value
        else:
            values[one.as_] = value
    return tuple(waits) if waits else Bound(values, origins, declared(node.inputs), relays)


def lost(node: AppNode, graph: AppGraph, fleet: Fleet) -> tuple[Blocker, ...]:
    """What of an app that runs with its inputs is given no more, as each input's `onStale` would have it told.

    Nobody gives it (the app, its output, `exportTo` or `allowEdgesFrom` went), or, with `Fail`, nobody is heard. What
    runs stays in any case. A producer that is on its way is no loss.
    """
    if node.pinned:
        return ()
    found = []
    for one, edge in takes(node, graph):
        held = _one(node, one, edge, graph, fleet)
        if not isinstance(held, Blocker) or held.edge in {"Dependency", "Stale"}:
            continue
        match one.on_stale:
            case InputStale.USE_LAST:
                message = f"{held.message}; it runs on with the last value"
                found.append(replace(held, message=message, ahead=True))
            case InputStale.WAIT:
                found.append(held)
            case InputStale.FAIL:
                found.append(replace(held, edge="Failed"))
    return tuple(found)


def pace(changes: Sequence[datetime], now: datetime) -> datetime | None:
    """Until when a new value has to wait, with the times of the changes before; None: it may be taken."""
    recent = sorted(each for each in changes if each > now - WINDOW)
    return recent[-LIMIT] + WINDOW if len(recent) >= LIMIT else None


def flapping(until: datetime) -> str:
    """What is said of an app whose inputs change too often."""
    return (
        f"its inputs changed {LIMIT} times in {int(WINDOW.total_seconds() // 60)} minutes;"
        f" it keeps what it has until {until.strftime('%H:%M:%S')}"
    )


def _one(
    node: AppNode, one: Input, edge: ResolvedEdge, graph: AppGraph, fleet: Fleet
) -> tuple[Any, tuple[AppKey, ...]] | Blocker:
    """(value, origins) of one input."""
    held = refused(node, edge.dependency, fleet)
    if held is not None:
        return held
    producers = sorted(
        (each for key in edge.targets if (each := graph.get(key)) is not None and not each.deleting),
        key=lambda each: (each.cluster, each.key),
    )
    meant = words(node, edge.dependency)
    if edge.problem:
        return Blocker("Invalid", meant, f"input {one.as_}: {edge.problem}")
    if not producers or edge.missing:
        where = f" on {', '.join(edge.missing)}" if edge.missing else ""
        return _default(one) or Blocker(MISSING, meant, f"input {one.as_}: nothing matches {meant}{where}")
    if one.single and len(producers) > 1:
        named = ", ".join(title(each) for each in producers[:3])
        return Blocker(
            "Invalid", meant, f"input {one.as_} is one value, and {len(producers)} apps match: {named}"
        )
    found = [(each.key, _of(node, one, each, fleet)) for each in producers]
    waits = [value for _, value in found if isinstance(value, Blocker)]
    good = [(key, value) for key, value in found if not isinstance(value, Blocker)]
    if waits and not (one.clusters.scope is Scope.ANY and good):
        missing = all(each.edge == MISSING for each in waits)
        return (_default(one) if missing else None) or waits[0]
    return _given(node, one, good, fleet)


def _given(
    node: AppNode, one: Input, good: Sequence[tuple[AppKey, Exported]], fleet: Fleet
) -> tuple[Any, tuple[AppKey, ...]] | Blocker:
    """What the producers give together; of a sealed input what is relayed."""
    origins = tuple(key for key, _ in good)
    if one.secret is not None:
        relay = _relay(node, one, good[0][1], fleet)
        return relay if isinstance(relay, Blocker) else (relay, origins)
    values = [value.value for _, value in good]
    return (values[0] if one.single else values), origins


def _default(one: Input) -> tuple[Any, tuple[AppKey, ...]] | None:
    return None if one.default is None else (one.default, ())


def _of(node: AppNode, one: Input, producer: AppNode, fleet: Fleet) -> Exported | Blocker:
    """What one producer gives, or why it gives nothing now."""
    named = f"input {one.as_}: {title(producer)}"
    never = _never(node, one, producer, named=named)
    if never is not None:
        return never
    last = next((each for each in producer.outputs if each.name == one.output), None)
    cluster = fleet.clusters.get(producer.cluster)
    if cluster is not None and cluster.stale:
        return _last_known(one, producer, last, named=named)
    waits = waits_for(node, producer, one.edge(), fleet)
    if waits is not None:
        return waits
    if last is None or producer.target not in (last.digest, last.problem_at):
        return Blocker("Dependency", producer.key, f"{named} has not told its output {one.output} yet")
    return last if last.there else Blocker(MISSING, producer.key, f"{named}: {one.output}: {last.problem}")


def _never(node: AppNode, one: Input, producer: AppNode, *, named: str) -> Blocker | None:
    """Why the producer's declaration gives this input nothing."""
    if one.output not in producer.exports:
        return Blocker(MISSING, producer.key, f"{named} has no output {one.output}")
    if not may_read(node, producer, one.output):
        return Blocker("Project", producer.key, f"{named} does not export {one.output} to {node.namespace}")
    if one.output in producer.sealed and one.secret is None:
        why = f"{named}: {one.output} is sealed: say in which `secret` it goes"
        return Blocker("Invalid", producer.key, why)
    if one.output not in producer.sealed and one.secret is not None:
        return Blocker(
            "Invalid", producer.key, f"{named}: {one.output} is not sealed: it goes in no `secret`"
        )
    return None


def _last_known(one: Input, producer: AppNode, last: Exported | None, *, named: str) -> Exported | Blocker:
    """What holds of a producer that is not heard."""
    message = f"{named} is on {producer.cluster}, which is Stale"
    match one.on_stale:
        case InputStale.USE_LAST:
            if last is not None and last.there:
                return last
            return Blocker(MISSING, producer.key, f"{message}, and there is no last good value")
        case InputStale.WAIT:
            return Blocker("Stale", producer.key, message)
        case InputStale.FAIL:
            return Blocker("Failed", producer.key, f"{message}: the input fails on that")


def _relay(node: AppNode, one: Input, found: Exported, fleet: Fleet) -> Relay | Blocker:
    """What was sealed for this app and its cluster's present key."""
    cluster = fleet.clusters.get(node.cluster)
    key = key_of(cluster.sealing_key) if cluster is not None else ""
    for each in found.relays:
        if (each.consumer, each.key) == (node.key, key) and key:
            return each
    message = f"input {one.as_}: {one.output} is not sealed for it yet"
    return Blocker("Dependency", found.relays[0].producer if found.relays else one.output, message)
