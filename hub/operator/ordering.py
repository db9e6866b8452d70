"""Applications in the order of their graph, for who acts on several. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.core.graph import AppGraph
from hub.core.model import AppNode
from hub.operator import views
from hub.operator.objects import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest


def dependents_first(apps: Iterable[Manifest]) -> list[Manifest]:
    """In the order in which they go back: the hub sees a pin before those of what its app needs."""
    by_key = {key_of(obj): obj for obj in apps}
    graph = AppGraph()
    for key, obj in sorted(by_key.items()):
        spec = views.application_spec(obj)
        graph.upsert(
            AppNode(
                key=key,
                cluster=spec.cluster,
                labels=obj["metadata"].get("labels") or {},
                owner=views.owner_of(obj),
                depends_on=spec.edges(),
            )
        )
    return [by_key[key] for level in reversed(graph.order()) for key in level]
