"""Whether Applications would wait for themselves, asked before they are let in. Pure, and no more than a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode


def new_cycle(graph: AppGraph, node: AppNode) -> str:
    """The path of the cycle that the node would close; empty for none, and for one that is there already."""
    return new_cycles(graph, [node])


def new_cycles(graph: AppGraph, nodes: Sequence[AppNode], gone: Collection[AppKey] = ()) -> str:
    """The path of a cycle that these nodes, written at once, would close, while those that are `gone` are no more.

    A cycle that came in by another way must not keep anyone from changing what is in it. The graph is as before
    when this returns. Costs what differs from the graph as it is.
    """
    changed = [node for node in nodes if _differs(graph.get(node.key), node)]
    if not changed:
        return ""
    before = {key: graph.get(key) for key in (*gone, *(node.key for node in changed))}
    known = {key for key, node in before.items() if node is not None and graph.cycle_of(key)}
    for key in gone:
        graph.remove(key)
    for node in changed:
        graph.upsert(node)
    try:
        closed = (node.key for node in changed if node.key not in known and graph.cycle_of(node.key))
        found = min(closed, default="")
        return graph.cycle_text(found) if found else ""
    finally:
        for key, earlier in before.items():
            if earlier is None:
                graph.remove(key)
            else:
                graph.upsert(earlier)


def _differs(before: AppNode | None, node: AppNode) -> bool:
    """Whether it has other edges, or is meant by other edges, than what is known of it."""
    if before is None:
        return True
    return (before.cluster, before.labels, before.owner, before.depends_on) != (
        node.cluster,
        node.labels,
        node.owner,
        node.depends_on,
    )
