"""Generators that ask somebody: `scmProvider`, `pullRequest`, `plugin`, `clusterDecisionResource`.

Nothing is asked here. A need is written down, and once its answer is known it is made into parameter sets; how
each is asked, and what its fields mean, is `hub.hosts`' matter. While an answer is missing there are no sets,
and the expansion does not finish: a host that does not answer never makes a set smaller.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hub.core.needs import ExternalNeed
from hub.generators.clusters import cluster_params
from hub.generators.context import Context, GeneratorSpec, check_keys, within_limit

if TYPE_CHECKING:
    from hub.core.expansion import ClusterFacts
    from hub.core.params import Params

_FILTERED = ("filters", "requeueAfterSeconds")
FIELDS = {
    "scmProvider": (
        "github",
        "gitlab",
        "gitea",
        "bitbucket",
        "bitbucketServer",
        "azureDevOps",
        "cloneProtocol",
        *_FILTERED,
    ),
    "pullRequest": (
        "github",
        "gitlab",
        "gitea",
        "bitbucket",
        "bitbucketServer",
        "azuredevops",
        "continueOnRepoNotFoundError",
        *_FILTERED,
    ),
    "plugin": ("configMapRef", "input", "requeueAfterSeconds"),
    "clusterDecisionResource": ("configMapRef", "name", "labelSelector", "requeueAfterSeconds"),
}
MATCH_KEY = "axletree.dev/match"
"""In an answer of `clusterDecisionResource`: what names the cluster. It is not a parameter."""


def answers(kind: str, spec: GeneratorSpec, context: Context) -> list[Params]:
    """The answer, as it was given; nothing, and a need written down, while it is not known."""
    check_keys(spec, FIELDS[kind], path=kind)
    need = ExternalNeed(kind, json.dumps(spec, sort_keys=True, ensure_ascii=False))
    rows = context.external.get(need)
    if rows is None:
        context.wanted.external.add(need)
        return []
    within_limit(len(rows), path=kind)
    return [dict(row) for row in rows]


def scm_provider(spec: GeneratorSpec, context: Context) -> list[Params]:
    """One parameter set a branch of a repository."""
    return answers("scmProvider", spec, context)


def pull_request(spec: GeneratorSpec, context: Context) -> list[Params]:
    """One parameter set an open request."""
    return answers("pullRequest", spec, context)


def plugin(spec: GeneratorSpec, context: Context) -> list[Params]:
    """What the plugin gave; the input's parameters are there as `generator.input.parameters`, as in Argo CD."""
    given = {"generator": {"input": {"parameters": (spec.get("input") or {}).get("parameters") or {}}}}
    return [{**row, **given} for row in answers("plugin", spec, context)]


def cluster_decision(spec: GeneratorSpec, context: Context) -> list[Params]:
    """The chosen clusters, in the fleet's order, each with what the decision says beside the cluster's own.

    A decision for a cluster that has not joined, is not accepted, or is being removed, waits for it, as in Argo CD.
    """
    chosen: dict[str, Params] = {}
    for row in answers("clusterDecisionResource", spec, context):
        chosen[str(row.pop(MATCH_KEY, ""))] = row
    return [{**chosen[one.name], **cluster_params(one)} for one in context.clusters if _there(one, chosen)]


def _there(cluster: ClusterFacts, chosen: dict[str, Params]) -> bool:
    return cluster.eligible and cluster.name in chosen
