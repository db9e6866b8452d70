"""The Assignment of one cluster: what was released to it, and the recorded decisions that something goes.

Built on the previous one, never only from what the hub happens to know now: an Application that is no longer
there without a decision stays assigned, since absence is never a delete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.core.plan import DROPPED
from hub.core.rollout import MAX_AFTER, after_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode, Drop, Fleet

Entry = dict[str, Any]
_PARTS = ("recipients", "apps", "tombstones", "adoptions", "purges", "objectSyncs")
_DELETED = "Deleted"
"""The reason of a decision that a person made."""


def assignment_spec(
    cluster: str,
    graph: AppGraph,
    *,
    blobs: Mapping[AppKey, str],
    tombstones: Iterable[Drop],
    previous: Mapping[str, Any] | None,
    epoch: int,
    orphan: Collection[AppKey] = (),
    fleet: Fleet | None = None,
    first: int = 1,
    adoptions: Sequence[Entry] = (),
    recipients: Sequence[Entry] = (),
    object_syncs: Sequence[Entry] = (),
    purges: Sequence[Mapping[str, str]] = (),
    resend: bool = False,
    leaving: bool = False,
) -> dict[str, Any] | None:
    """The cluster's next `spec`, or None when the previous one still says it all.

    `blobs` are the stored bytes of releases, as far as they are known; `tombstones` all
    recorded decisions about this cluster's apps, the held ones included, and `orphan` those whose objects
    stay. A decision becomes a tombstone once no dependent on another cluster (as `fleet` knows them) has to
    go before it, and stays one for as long as it is recorded. What an expansion dropped stays assigned until its
    set's new children on the cluster are released: under another name they may hold the same objects. `resend`
    asks the agent for the latest state of every app: what was observed is gone. Of `object_syncs` those are asked
    that are about what is assigned. `leaving`: a person removes the cluster.
    """
    before = {entry["app"]: entry for entry in (previous or {}).get("apps") or ()}
    written = {entry["app"] for entry in (previous or {}).get("tombstones") or ()}
    going = {
        drop.key: drop
        for drop in tombstones
        if not drop.held
        and (drop.key in written or not (_renaming(drop, graph) or _awaited(drop.key, graph, fleet)))
    }
    apps = {key: entry for key, entry in before.items() if key not in going}
    for key in graph.on_cluster(cluster):
        node = graph.get(key)
        if node is not None and key not in going and (entry := _released(node, before.get(key), blobs)):
            apps[key] = entry
    content: dict[str, Any] = {
        "apps": [_ordered(entry, graph, apps) for _, entry in sorted(apps.items())],
        "tombstones": [_tombstone(going[key], going, graph, orphan) for key in sorted(going)]
        + _purged(purges, known={*apps, *going, *graph.on_cluster(cluster)}),
    }
    if recipients:
        content["recipients"] = list(recipients)
    if adoptions:
        content["adoptions"] = list(adoptions)
    asked_again = [each for each in object_syncs if apps.get(each["app"], {}).get("digest") == each["digest"]]
    if asked_again:
        content["objectSyncs"] = asked_again
    former = [dict(each) for each in purges if each.get("hub") and each.get("serviceAccount")]
    if former:
        content["purges"] = sorted(former, key=lambda each: (each["app"], each["hub"]))
    if leaving:
        content["leaving"] = True
    if previous is None:
        return {"epoch": epoch, "seq": first, **content} if any(content.values()) else None
    asked = int(previous.get("resend") or 0) + resend
    if asked:
        content["resend"] = asked
    same = (
        not resend
        and previous.get("epoch") == epoch
        and leaving == bool(previous.get("leaving"))
        and all(content.get(name, []) == (previous.get(name) or []) for name in _PARTS)
    )
    return None if same else {"epoch": epoch, "seq": int(previous["seq"]) + 1, **content}


def _purged(purges: Iterable[Mapping[str, str]], *, known: Collection[AppKey]) -> list[Entry]:
    """A person's decisions about orphans of this hub. An app that the hub knows, or assigns, is none."""
    return [
        {**each, "reason": _DELETED, "purge": True}
        for each in sorted(purges, key=lambda each: each["app"])
        if each["app"] not in known and not each.get("hub")
    ]


def _released(node: AppNode, before: Entry | None, blobs: Mapping[AppKey, str]) -> Entry | None:
    """The entry of what the node was released to; the previous one while nothing newer can be fetched.

    The same release may come as other bytes: a cluster that joined again cannot open what was sealed to its
    earlier key.
    """
    if not node.released or not node.release:
        return before
    blob = blobs.get(node.key)
    if blob is None:
        return before
    return {"app": node.key, "digest": node.released, "blob": blob, "release": node.release}


def _ordered(entry: Entry, graph: AppGraph, apps: Mapping[AppKey, Entry]) -> Entry:
    """With its order as the graph has it now; what the graph does not know keeps the order that it had."""
    key = entry["app"]
    if key not in graph:
        return entry
    after = [each for each in after_of(key, graph) if each in apps]
    kept = {name: value for name, value in entry.items() if name != "after"}
    return {**kept, "after": after} if after else kept


def _tombstone(
    drop: Drop, going: Mapping[AppKey, Drop], graph: AppGraph, orphan: Collection[AppKey]
) -> Entry:
    """With the dependents that go as well, and so go first. Members of a cycle do not wait for each other."""
    key = drop.key
    first = [each for each in graph.dependents(key) if each in going and not graph.same_cycle(key, each)]
    entry: Entry = {
        "app": key,
        "reason": drop.reason,
        "decidedAt": drop.decided_at.isoformat().replace("+00:00", "Z"),
    }
    if key in orphan:
        entry["orphan"] = True
    if first:
        entry["before"] = sorted(first)[:MAX_AFTER]
    return entry


def _renaming(drop: Drop, graph: AppGraph) -> bool:
    """Whether a sibling on the cluster was never released: the agent must see it before the old name goes.

    Which objects it will hold is not known here, so any such sibling counts, also one that is Blocked or Failed.
    """
    node = graph.get(drop.key)
    if drop.reason != DROPPED or node is None or node.owner is None:
        return False
    siblings = (graph.get(key) for key in graph.on_cluster(node.cluster))
    return any(
        each.owner == node.owner and not each.release and not each.deleting
        for each in siblings
        if each is not None
    )


def _awaited(key: AppKey, graph: AppGraph, fleet: Fleet | None) -> bool:
    """Whether a dependent on another cluster is still being deleted there, and can be."""
    node = graph.get(key)
    if node is None or fleet is None:
        return False
    dependents = (graph.get(each) for each in graph.dependents(key))
    return any(
        each.cluster != node.cluster and _still_going(each, fleet) and not graph.same_cycle(key, each.key)
        for each in dependents
        if each is not None
    )


def _still_going(node: AppNode, fleet: Fleet) -> bool:
    cluster = fleet.clusters.get(node.cluster)
    if not node.deleting or cluster is None or cluster.removing or not cluster.joined:
        return False
    return node.observed is None or not node.observed.deleted
