"""`clusters`: one parameter set a cluster, by name.

A cluster is in if it is in the `clusterSet` (if one is given) and matches the `selector` (if one is given),
or is one of the `names`. With neither set, selector nor names, every cluster is. Clusters that are not
accepted, or are being removed, are left out; the hub's own is in only where it is asked for
(`hub.core.clustersets`).

Each gives `cluster.name`, `.labels`, `.annotations` and `.values`, and Argo CD's `name`, `nameNormalized`,
`metadata.labels` and `metadata.annotations`. `server` and `project` are there for sets that came from Argo CD:
they are what the annotations `axletree.dev/server` and `axletree.dev/argocd-project` say, since spokes have no
address that a hub calls.
"""

from __future__ import annotations

from agent.kube.selectors import Selector, SelectorError, parse_selector
from hub.core.clustersets import ANNOTATION_PROJECT, ANNOTATION_SERVER, selects, set_contains
from hub.core.expansion import (
    ClusterFacts,
    ClusterSetFacts,
    GeneratorError,
    UnknownCluster,
    UnknownClusterSet,
)
from hub.core.params import Params, Yielding, nearest, normalize
from hub.generators.context import Context, GeneratorSpec, check_keys, entries


def generate(spec: GeneratorSpec, context: Context) -> list[Params]:
    """The chosen clusters, sorted by name."""
    check_keys(spec, ("selector", "clusterSet", "names", "flatList"), path="clusters")
    names = _names(spec, context)
    set_name = spec.get("clusterSet") or ""
    raw = spec.get("selector")
    found = _cluster_set(set_name, context) if set_name else None
    by_name_only = bool(names) and found is None and raw is None
    try:
        selector = None if raw is None else parse_selector(raw)
        return [
            cluster_params(one)
            for one in context.clusters
            if one.eligible and (one.name in names or (not by_name_only and _chosen(one, selector, found)))
        ]
    except SelectorError as error:
        raise GeneratorError(str(error), path="clusters.selector") from error


def flat(rows: list[Params]) -> list[Params]:
    """`flatList: true`: one parameter set, whose `clusters` is the list of all."""
    return [{"clusters": rows}]


def _names(spec: GeneratorSpec, context: Context) -> set[str]:
    names = entries(spec.get("names"), path="clusters.names")
    known = {one.name for one in context.clusters}
    for index, name in enumerate(names):
        if name not in known:
            raise UnknownCluster(
                f'there is no cluster "{name}"{nearest(str(name), known)}', path=f"clusters.names[{index}]"
            )
    return set(names)


def _cluster_set(name: str, context: Context) -> ClusterSetFacts:
    found = context.cluster_sets.get(name)
    if found is None:
        raise UnknownClusterSet(
            f'there is no ClusterSet "{name}"{nearest(name, context.cluster_sets)}',
            path="clusters.clusterSet",
        )
    return found


def _chosen(cluster: ClusterFacts, selector: Selector | None, cluster_set: ClusterSetFacts | None) -> bool:
    if cluster_set is None:
        return selects(selector or Selector(), cluster.name, cluster.labels)
    if not set_contains(cluster_set.selector, cluster_set.clusters, name=cluster.name, labels=cluster.labels):
        return False
    return selector is None or selector.matches(cluster.labels)


def cluster_params(cluster: ClusterFacts) -> Params:
    """What templates know of a cluster."""
    labels, annotations = dict(cluster.labels), dict(cluster.annotations)
    params: Params = {
        "cluster": Yielding(
            name=cluster.name, labels=labels, annotations=annotations, values=dict(cluster.values)
        ),
        "name": cluster.name,
        "nameNormalized": normalize(cluster.name),
        "metadata": {"labels": labels, "annotations": annotations},
    }
    if ANNOTATION_SERVER in annotations:
        params["server"] = annotations[ANNOTATION_SERVER]
    if ANNOTATION_PROJECT in annotations:
        params["project"] = annotations[ANNOTATION_PROJECT]
    return params
