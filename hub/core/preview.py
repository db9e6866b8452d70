"""One plan before it is made: what a change would do to a fleet, in which order, and what would hold it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.contract.canonical import canonical_json
from agent.contract.health import HealthState, SyncState
from agent.contract.names import LABEL_SET
from hub.api.application import ApplicationSpec
from hub.core.breaker import HELD_BY_BREAKER, Breaker, held_by_breaker
from hub.core.claims import Clash
from hub.core.drawing import cycles
from hub.core.expansion import DuplicateName, InvalidChild
from hub.core.graph import AppGraph
from hub.core.model import AppNode, Observed
from hub.core.objectdiff import ADDED, CHANGED, REMOVED, ObjectChange, object_changes
from hub.core.plan import differs, plan_children
from hub.core.rehearsal import Rehearsal, rehearse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.api.applicationset import ApplicationSetSpec
    from hub.core.model import AppKey, Fleet, SetKey
    from hub.core.plan import ChildPlan

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Side:
    """A fleet's Applications at one moment, with what each renders to."""

    apps: Mapping[AppKey, Manifest] = field(default_factory=dict)
    sets: Mapping[SetKey, ApplicationSetSpec] = field(default_factory=dict)
    objects: Mapping[AppKey, Sequence[Manifest]] = field(default_factory=dict)
    """None of an app: it is not known what it renders to."""
    problems: Mapping[AppKey, str] = field(default_factory=dict)
    """Why one cannot be rendered."""
    plans: Mapping[SetKey, Mapping[str, Any]] = field(default_factory=dict)
    """`status.plan` of sets that have one: what their budgets have spent."""
    paused: frozenset[str] = frozenset()
    """Sets and Applications that a person holds."""
    breaker: Breaker | None = None
    """What the whole hub may lose; None: as if these were all that there is, and nothing of them had gone."""


@dataclass(frozen=True, slots=True)
class Change:
    """What would become of one Application."""

    app: AppKey
    cluster: str
    action: str
    wave: str = ""
    after: tuple[AppKey, ...] = ()
    """Its dependencies that change, too, and that it would wait for."""
    objects: tuple[ObjectChange, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"app": self.app, "cluster": self.cluster, "action": self.action}
        found |= {"wave": self.wave} if self.wave else {}
        found |= {"after": list(self.after)} if self.after else {}
        found |= {"problem": self.problem} if self.problem else {}
        return found | {"objects": [each.to_json() for each in self.objects]}


@dataclass(frozen=True, slots=True)
class Hold:
    app: AppKey
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Preview:
    changes: tuple[Change, ...]
    rehearsal: Rehearsal
    held: tuple[Hold, ...]
    cycles: tuple[str, ...]
    inversions: tuple[str, ...]
    unchanged: int

    def count(self, action: str) -> int:
        return sum(change.action == action for change in self.changes)

    def to_json(self) -> dict[str, Any]:
        return {
            "changes": [change.to_json() for change in self.changes],
            "order": [
                {"apps": list(step.apps), **({"after": list(step.after)} if step.after else {})}
                for step in self.rehearsal.steps
            ],
            "held": [{"app": each.app, "rule": each.rule, "message": each.message} for each in self.held],
            "cycles": list(self.cycles),
            "inversions": list(self.inversions),
            "counts": {
                "added": self.count(ADDED),
                "changed": self.count(CHANGED),
                "removed": self.count(REMOVED),
                "held": len(self.held),
                "unchanged": self.unchanged,
            },
        }


def preview(before: Side, after: Side, *, fleet: Fleet, now: datetime) -> Preview:
    """What the change from one side to the other would do."""
    actions = {key: action for key in after.apps if (action := _action(key, before, after))}
    refusals = {key: words for key in actions if (words := _refusal(key, before, after))}
    removed, kept = _removed(before, after, fleet, now)
    graph = _graph(before, after, fleet, actions)
    edges = {key: _waits(graph, key, actions) for key in actions}
    found = tuple(cycles(graph))
    rollouts = {key: (spec.rollout, spec.health.stale) for key, spec in after.sets.items()}
    paused = before.paused | after.paused
    played = rehearse(graph, rollouts=rollouts, fleet=fleet, now=now, paused=paused)
    changes = [
        Change(
            app=key,
            cluster=_cluster(after.apps[key]),
            action=action,
            wave=played.wave_of.get(key, ""),
            after=edges[key],
            objects=_objects(key, before, after, action),
            problem=refusals.get(key) or after.problems.get(key, ""),
        )
        for key, action in sorted(actions.items())
    ]
    changes += [Change(key, _cluster(before.apps[key]), REMOVED) for key in removed]
    held = [Hold(key, rule, "its deletion would be Held") for key, rule in kept]
    stops = {**played.waits, **played.back, **{key: found[0] for key, found in played.held.items() if found}}
    held += [Hold(key, stop.edge, stop.root or stop.message) for key, stop in stops.items() if key in actions]
    inverted = tuple(f"{key}: {words}" for key, words in sorted(played.inverted.items()))
    return Preview(tuple(changes), played, tuple(held), found, inverted, len(after.apps) - len(actions))


def _action(key: AppKey, before: Side, after: Side) -> str:
    if key not in before.apps:
        return ADDED
    if key in after.problems:
        return "" if before.problems.get(key) == after.problems[key] else CHANGED
    old, new = before.apps[key], after.apps[key]
    known = key in before.objects and key in after.objects
    same = (
        not known or before.objects[key] is after.objects[key] or _sorted(before, key) == _sorted(after, key)
    )
    return "" if same and not differs(new, old) else CHANGED


def _refusal(key: AppKey, before: Side, after: Side) -> str:
    """Why a hub does not make of an Application that it has what is wanted; it stays as it is."""
    if key not in before.apps:
        return ""
    old, new = before.apps[key], after.apps[key]
    if _owner(old) != _owner(new) and (not _owner(old) or _owner(old) in before.sets):
        return (
            f"{DuplicateName.reason}: {Clash(key, _owner(old))}; it is deleted there before it is made here"
        )
    if _cluster(old) != _cluster(new):
        return (
            f"{InvalidChild.reason}: it is on {_cluster(old)}: who wants it elsewhere gives it another name"
        )
    return ""


def _removed(
    before: Side, after: Side, fleet: Fleet, now: datetime
) -> tuple[list[AppKey], list[tuple[AppKey, str]]]:
    """What would be deleted, and what of it would be Held, by which rule."""
    going: list[AppKey] = []
    held: list[tuple[AppKey, str]] = []
    breaker = before.breaker or Breaker(len(before.apps))
    gone = [key for key in before.apps if key not in after.apps]
    by_set: dict[SetKey, list[AppKey]] = {}
    for key in gone:
        by_set.setdefault(_owner(before.apps[key]), []).append(key)
    plans: dict[SetKey, ChildPlan] = {}
    for owner, keys in sorted(by_set.items()):
        spec = after.sets.get(owner)
        going += keys
        if spec is None:  # the set goes as a whole, or it is hand-written: a person's own decision
            held += [(key, HELD_BY_BREAKER) for key in keys if breaker.trips(len(gone))]
            continue
        last = before.plans.get(owner, {})
        plans[owner] = plan_children(
            {key: obj for key, obj in after.apps.items() if _owner(obj) == owner},
            {key: obj for key, obj in before.apps.items() if _owner(obj) == owner},
            deletion=spec.deletion,
            now=now,
            drops=last.get("drops") or (),
            held=last.get("held") or (),
            removing=frozenset(name for name, view in fleet.clusters.items() if view.removing),
        )
    named = {
        owner: [each["app"] for each in before.plans.get(owner, {}).get("held") or ()] for owner in plans
    }
    plans |= held_by_breaker(plans, named, breaker, now=now)
    held += [(each.app, each.reason) for plan in plans.values() for each in plan.held]
    return sorted(going), sorted(held)


def _graph(before: Side, after: Side, fleet: Fleet, actions: Mapping[AppKey, str]) -> AppGraph:
    """The fleet in the moment in which the change is planned: all that is there runs, and is Healthy."""
    graph = AppGraph()
    for view in fleet.clusters.values():
        graph.upsert_cluster(view)
    for key, obj in after.apps.items():
        spec = ApplicationSpec.model_validate(obj["spec"])
        new = key not in before.apps
        old = "" if new else "before"
        target = ("after" if key in actions else old) or "after"
        problem = after.problems.get(key, "")
        graph.upsert(
            AppNode(
                key=key,
                cluster=spec.cluster,
                labels=_labels(obj),
                owner=_owner(obj) or None,
                depends_on=spec.edges(),
                mode=spec.sync.mode,
                plan=1 if key in actions else 0,
                target="" if problem else target,
                target_problem=problem,
                paused=key in before.paused or key in after.paused,
                released=old,
                release=0 if new else 1,
                observed=None
                if new
                else Observed(1, "before", sync=SyncState.SYNCED, health=HealthState.HEALTHY),
                healthy_since=None if new else _LONG_AGO,
            )
        )
    return graph


def _waits(graph: AppGraph, key: AppKey, actions: Mapping[AppKey, str]) -> tuple[AppKey, ...]:
    return tuple(
        sorted({target for edge in graph.edges_of(key) for target in edge.targets if target in actions})
    )


def _objects(key: AppKey, before: Side, after: Side, action: str) -> tuple[ObjectChange, ...]:
    if key not in after.objects or (action != ADDED and key not in before.objects):
        return ()
    return object_changes(before.objects.get(key, ()), after.objects[key])


def _sorted(side: Side, key: AppKey) -> list[bytes]:
    return sorted(canonical_json(obj) for obj in side.objects[key])


def _labels(obj: Manifest) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _owner(obj: Manifest) -> SetKey:
    name = _labels(obj).get(LABEL_SET)
    return f"{obj['metadata']['namespace']}/{name}" if name else ""


def _cluster(obj: Manifest) -> str:
    return str(obj["spec"].get("cluster", ""))
