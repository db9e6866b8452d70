"""The tree that people mean: root -> sets -> children, from plain objects. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.names import APPLYSET_PART_OF, HUB_CLUSTER, applyset_id
from hub.cli.kinds import APPS, SETS, field, health, key_of, set_of, sync, why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.contract.manifest import Manifest
    from hub.cli.kinds import Resource


@dataclass(frozen=True, slots=True)
class Branch:
    """One Application or ApplicationSet with what is under it."""

    kind: Resource
    obj: Manifest
    children: tuple[Branch, ...] = ()

    @property
    def key(self) -> str:
        return key_of(self.obj)

    @property
    def cluster(self) -> str:
        return str(field(self.obj, "spec", "cluster"))

    @property
    def sync(self) -> str:
        """An Application's state; of a set, how many of its children are Synced."""
        if self.kind is APPS:
            return sync(self.obj)
        counts = field(self.obj, "status", "sync") or {}
        return f"{counts.get('Synced', 0)}/{field(self.obj, 'status', 'children') or 0}"

    @property
    def health(self) -> str:
        return health(self.obj)

    @property
    def observed_at(self) -> str:
        return str(field(self.obj, "status", "health", "observedAt"))

    def walk(self) -> Iterator[Branch]:
        """Itself and everything under it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"kind": self.kind.kind, "name": self.key}
        facts = {
            "cluster": self.cluster,
            "sync": self.sync,
            "health": self.health,
            "observedAt": self.observed_at,
            "message": why(self.obj),
        }
        found |= {name: value for name, value in facts.items() if value}
        if self.children or self.kind is SETS:
            found["children"] = [child.to_json() for child in self.children]
        return found


def grow(apps: Sequence[Manifest], sets: Sequence[Manifest], *, hub_id: str | None) -> list[Branch]:
    """Every tree, roots first; then sets and Applications that belong to no root.

    A root's objects are known by the label that the hub's own agent put on them, which carries the hub's id:
    without that id everything but a set's children stands alone.
    """
    roots = [app for app in apps if field(app, "spec", "cluster") == HUB_CLUSTER and not set_of(app)]
    part_of = (
        {}
        if hub_id is None
        else {applyset_id(hub_id, HUB_CLUSTER, key_of(app)): key_of(app) for app in roots}
    )
    children = _grouped(apps, set_of)
    under = _grouped(
        [*sets, *(app for app in apps if not set_of(app))], lambda obj: part_of.get(_part_of(obj), "")
    )
    known = {key_of(obj) for obj in sets}
    seen: set[int] = set()

    def branch(obj: Manifest) -> Branch:
        seen.add(id(obj))
        if obj["kind"] == SETS.kind:
            return Branch(SETS, obj, tuple(branch(child) for child in children.get(key_of(obj), ())))
        inside = under.get(key_of(obj), []) if obj in roots else []
        return Branch(APPS, obj, tuple(branch(each) for each in inside if id(each) not in seen))

    top = [obj for obj in [*roots, *sets] if _part_of(obj) not in part_of]
    trees = [branch(obj) for obj in _ordered(top)]
    trees += [branch(app) for app in _ordered(apps) if id(app) not in seen and set_of(app) not in known]
    # Roots that are parts of each other, and whatever else nobody reached: shown, whatever it is.
    trees += [branch(obj) for obj in [*sets, *apps] if id(obj) not in seen]
    return sorted(trees, key=lambda tree: (tree.cluster != HUB_CLUSTER, tree.kind is not SETS))


def _grouped(objects: Iterable[Manifest], owner: Any) -> dict[str, list[Manifest]]:
    found: dict[str, list[Manifest]] = {}
    for obj in _ordered(objects):
        found.setdefault(owner(obj), []).append(obj)
    return found


def _ordered(objects: Iterable[Manifest]) -> list[Manifest]:
    """Sets before Applications, each by name."""
    return sorted(objects, key=lambda obj: (obj["kind"] != SETS.kind, key_of(obj)))


def _part_of(obj: Manifest) -> str:
    return str((obj["metadata"].get("labels") or {}).get(APPLYSET_PART_OF, ""))
