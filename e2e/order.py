"""Whether releases kept the order of the graph, read from the log of what the hub's API server said.

Events of one collection come in the order of their writes: when a child is seen to be released, what its
dependencies had said by then is what was known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.words import APPS, Object, status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from e2e.view import Change


def releases(log: Iterable[Change]) -> list[tuple[str, str]]:
    """(Application, digest) in the order in which they were released."""
    return [(change.key, new) for change in log if (new := _released(change))]


def assert_order(log: Iterable[Change]) -> None:
    """Assert that no child was released before its dependencies were Healthy at their targets (I6)."""
    now: dict[str, Object] = {}
    for change in log:
        if change.path != APPS:
            continue
        if change.new is None:
            now.pop(change.key, None)
            continue
        now[change.key] = change.new
        if _released(change):
            for key in _dependencies(change.new, now):
                _assert_ready(change.key, key, now[key])


def _released(change: Change) -> str:
    """The digest that it was let go to by this change; empty for other changes."""
    if change.path != APPS or change.new is None:
        return ""
    after = status(change.new, "sync", "released") or ""
    return after if after != (status(change.old, "sync", "released") or "") else ""


def _dependencies(app: Object, now: dict[str, Object]) -> list[str]:
    """The applications that the sample's edges mean: by labels on the same cluster, inputs by name on a named one."""
    found = []
    metadata, spec = app["metadata"], app["spec"]
    for edge in (*(spec.get("dependsOn") or ()), *(spec.get("inputs") or ())):
        wanted = edge.get("selector", {}).get("matchLabels", {}).items()
        clusters = edge["clusters"].get("names") or [spec["cluster"]]
        matching = [
            key
            for key, other in now.items()
            if other["spec"]["cluster"] in clusters
            and other["metadata"]["namespace"] == metadata["namespace"]
            and edge.get("name", other["metadata"]["name"]) == other["metadata"]["name"]
            and wanted <= other["metadata"].get("labels", {}).items()
        ]
        assert matching, f"{metadata['name']} was released while nothing matches {edge}"
        found += matching
    return found


def _assert_ready(released: str, key: str, dependency: Object) -> None:
    sync, seen = status(dependency, "sync"), status(dependency, "observed")
    assert seen, f"{released} was released before {key} had reported"
    assert seen["digest"] == sync["target"], f"{released} was released before {key} was at its target"
    assert (seen["sync"], seen["health"]) == ("Synced", "Healthy"), (
        f"{released} was released while {key}: {seen}"
    )
