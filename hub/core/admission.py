"""Whether an Application would wait for itself, asked before it is let in. Pure, and no more than a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.core.graph import AppGraph
    from hub.core.model import AppNode


def new_cycle(graph: AppGraph, node: AppNode) -> str:
    """The path of the cycle that the node would close; empty for none, and for one that is there already.

    A cycle that came in by another way must not keep anyone from changing what is in it. The graph is as before
    when this returns.
    """
    before = graph.get(node.key)
    if before is not None and graph.cycle_of(node.key):
        return ""
    graph.upsert(node)
    try:
        return graph.cycle_text(node.key) if graph.cycle_of(node.key) else ""
    finally:
        if before is None:
            graph.remove(node.key)
        else:
            graph.upsert(before)
