"""The dependency graph, of the namespaces that may be seen. Built when asked: nobody asks often, and it is bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hub.core.graph import AppGraph
from hub.core.model import AppNode
from hub.history.rows import key_of
from hub.operator import paths, views
from hub.web.models import Edge, Graph, GraphNode
from hub.web.problems import ParameterInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.web.call import Call

MAX_APPS = 5000


class Graphs:
    def __init__(self, client: RestClient) -> None:
        self._client = client

    async def graph(self, call: Call) -> Graph:
        """Raises `ParameterInvalid` for more than it draws."""
        wanted = set(call.query.namespace)
        apps = [
            obj
            for obj in (await self._client.list(paths.APPLICATIONS)).items
            if call.visible is None or obj["metadata"]["namespace"] in call.visible
        ]
        shown = [obj for obj in apps if not wanted or obj["metadata"]["namespace"] in wanted]
        if len(shown) > MAX_APPS:
            raise ParameterInvalid(f"{len(shown)} Applications are more than {MAX_APPS}: name namespaces")
        clusters = (await self._client.list(paths.CLUSTERS)).items
        return await asyncio.to_thread(_drawn, apps, shown, clusters)


def _drawn(apps: Sequence[Manifest], shown: Sequence[Manifest], clusters: Sequence[Manifest]) -> Graph:
    """`apps` are all that edges may lead to, of which `shown` have their edges drawn."""
    graph = AppGraph()
    for obj in clusters:
        graph.upsert_cluster(views.cluster_view(obj, stale=False))
    for obj in apps:
        spec = views.application_spec(obj)
        graph.upsert(
            AppNode(
                key=key_of(obj),
                cluster=spec.cluster,
                labels=obj["metadata"].get("labels") or {},
                owner=views.owner_of(obj),
                depends_on=spec.edges(),
                inputs=tuple(spec.inputs),
            )
        )
    nodes, edges = [], []
    for obj in shown:
        key, status = key_of(obj), obj.get("status") or {}
        node = graph.get(key)
        if node is None:
            continue
        nodes.append(
            GraphNode(
                key=key,
                cluster=node.cluster,
                application_set=node.owner or "",
                health=str((status.get("health") or {}).get("state") or "Unknown"),
                sync=str((status.get("sync") or {}).get("state") or "Unknown"),
                cycle=list(graph.cycle_of(key)),
            )
        )
        first = len(node.depends_on) - len(node.inputs)
        for index, edge in enumerate(graph.edges_of(key)):
            taken = node.inputs[index - first].output if index >= first else ""
            edges += [Edge(dependent=key, dependency=target, output=taken) for target in edge.targets]
    nodes.sort(key=lambda each: each.key)
    return Graph(nodes=nodes, edges=edges)
