"""The graph for people's tools: Graphviz, Mermaid, JSON. Pure text out of an `AppGraph`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.api.dependency import At, OnStale, Ready
from hub.core.graph import title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.api.dependency import Dependency
    from hub.core.graph import AppGraph
    from hub.core.model import AppKey, AppNode


@dataclass(frozen=True, slots=True)
class Arrow:
    """`dependent` waits for `dependency`, as one entry of its `dependsOn` says."""

    dependency: AppKey
    dependent: AppKey
    terms: str
    """What differs from a plain edge: `Synced`, `at Any`, `optional`...; empty for Healthy at the target."""
    cyclic: bool


def arrows(graph: AppGraph) -> list[Arrow]:
    """Every edge, one for each pair that an entry means, in a fixed order."""
    found = {
        Arrow(target, node.key, terms_of(edge.dependency), graph.same_cycle(target, node.key))
        for node in graph
        for edge in graph.edges_of(node.key)
        for target in edge.targets
    }
    return sorted(found, key=lambda arrow: (arrow.dependency, arrow.dependent, arrow.terms))


def terms_of(dependency: Dependency) -> str:
    """How an edge differs from the default one, in words."""
    words = []
    if dependency.ready != Ready.HEALTHY:
        words.append(dependency.ready)
    if dependency.at is not At.TARGET:
        words.append(f"at {dependency.at.value}")
    if dependency.soak:
        words.append(f"soak {dependency.soak}")
    if dependency.on_stale is not OnStale.WAIT:
        words.append(f"onStale {dependency.on_stale.value}")
    if dependency.optional:
        words.append("optional")
    return ", ".join(words)


def unmatched(graph: AppGraph) -> list[str]:
    """Edges that would hold their app for ever, since they mean nothing that is there."""
    lines = []
    for node in sorted(graph, key=lambda node: node.key):
        for index, edge in enumerate(graph.edges_of(node.key)):
            live = any((target := graph.get(key)) and not target.deleting for key in edge.targets)
            empty = not live and not edge.dependency.optional
            if edge.problem or edge.missing or empty:
                where = f" on {', '.join(edge.missing)}" if edge.missing else ""
                said = edge.problem or f"nothing here is meant{where}"
                lines.append(f"{node.key}: spec.dependsOn[{index}]: {said}")
    return lines


def cycles(graph: AppGraph) -> list[str]:
    """Every cycle with its whole path: `a@eu1 -> b@eu1 -> a@eu1`."""
    return [graph.cycle_text(min(members)) for members in graph.cycles()]


def to_json(graph: AppGraph) -> dict[str, Any]:
    """Nodes, edges and levels; `cycles` and `unmatched` are empty where all is well."""
    nodes = [_node(node, level) for level, node in _placed(graph)]
    edges = []
    for arrow in arrows(graph):
        edge: dict[str, Any] = {"from": arrow.dependency, "to": arrow.dependent}
        if arrow.terms:
            edge["terms"] = arrow.terms
        if arrow.cyclic:
            edge["cycle"] = True
        edges.append(edge)
    return {
        "nodes": nodes,
        "edges": edges,
        "levels": graph.order(),
        "cycles": cycles(graph),
        "unmatched": unmatched(graph),
    }


def to_dot(graph: AppGraph) -> str:
    """Graphviz; a cluster of nodes for each cluster of the fleet, arrows from dependency to dependent."""
    lines = ["digraph axletree {", "  rankdir=LR;", "  node [shape=box];"]
    for number, (cluster, nodes) in enumerate(_by_cluster(graph)):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(cluster)};"]
        lines += [f"    {_quoted(node.key)} [label={_quoted(title(node))}];" for node in nodes]
        lines.append("  }")
    for arrow in arrows(graph):
        options = []
        if arrow.terms:
            options.append(f"label={_quoted(arrow.terms)}")
        if "optional" in arrow.terms:
            options.append("style=dashed")
        if arrow.cyclic:
            options.append("color=red")
        suffix = f" [{', '.join(options)}]" if options else ""
        lines.append(f"  {_quoted(arrow.dependency)} -> {_quoted(arrow.dependent)}{suffix};")
    return "\n".join([*lines, "}", ""])


def to_mermaid(graph: AppGraph) -> str:
    """Mermaid, as Git hosts draw it in a page. Names have characters that its ids may not: nodes are numbered."""
    lines = ["flowchart LR"]
    ids: dict[AppKey, str] = {}
    for number, (cluster, nodes) in enumerate(_by_cluster(graph)):
        lines.append(f'  subgraph c{number}["{cluster}"]')
        for node in nodes:
            ids[node.key] = f"n{len(ids)}"
            lines.append(f'    {ids[node.key]}["{title(node)}"]')
        lines.append("  end")
    red = []
    for number, arrow in enumerate(arrows(graph)):
        line = "-.->" if "optional" in arrow.terms else "-->"
        label = f'|"{arrow.terms}"|' if arrow.terms else ""
        lines.append(f"  {ids[arrow.dependency]} {line}{label} {ids[arrow.dependent]}")
        if arrow.cyclic:
            red.append(str(number))
    if red:
        lines.append(f"  linkStyle {','.join(red)} stroke:red")
    return "\n".join([*lines, ""])


def _placed(graph: AppGraph) -> Iterator[tuple[int, AppNode]]:
    for number, level in enumerate(graph.order()):
        for key in level:
            node = graph.get(key)
            if node is not None:
                yield number, node


def _by_cluster(graph: AppGraph) -> list[tuple[str, list[AppNode]]]:
    found: dict[str, list[AppNode]] = {}
    for node in sorted(graph, key=lambda node: (node.cluster, node.key)):
        found.setdefault(node.cluster, []).append(node)
    return list(found.items())


def _node(node: AppNode, level: int) -> dict[str, Any]:
    found: dict[str, Any] = {"app": node.key, "cluster": node.cluster, "level": level}
    if node.owner:
        found["set"] = node.owner
    if node.target or node.released:
        found["sync"] = node.sync.value
    if node.observed is not None:
        found["health"] = node.observed.health.value
    return found


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
