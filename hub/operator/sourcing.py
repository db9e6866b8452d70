"""What an Application may be made from, and at which commits: asked before anything of it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError
from hub.render.checks import project_violations
from hub.render.rules import ProjectViolation
from hub.render.signed import check_signed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.api.application import ApplicationSpec
    from hub.api.project import ProjectSpec
    from hub.core.model import ClusterView, Fleet
    from hub.operator.commits import Commits


class UnknownCluster(TerminalError):
    reason = "UnknownCluster"


class NotJoined(TerminalError):
    """Secrets are sealed to a cluster's own key, so that nothing can be made for one that has not joined."""

    reason = "Join"


def allowed(key: str, spec: ApplicationSpec, fleet: Fleet) -> tuple[ClusterView, ProjectSpec]:
    """Its cluster and its project. Raises `UnknownCluster`, `NotJoined`, `ProjectViolation`."""
    cluster = fleet.clusters.get(spec.cluster)
    if cluster is None:
        raise UnknownCluster(f"there is no Cluster {spec.cluster}")
    if not cluster.joined or not cluster.accepted:
        state = "has not joined yet" if cluster.accepted else "is not accepted"
        raise NotJoined(f"cluster {spec.cluster} {state}")
    namespace = key.partition("/")[0]
    project = fleet.projects.get(namespace)
    if project is None:
        raise ProjectViolation(f"namespace {namespace} has no Project named `project`")
    broken = project_violations(namespace, project, spec, cluster=cluster, fleet=fleet)
    if broken:  # before anything is fetched: an address that is not allowed is not asked, either
        raise ProjectViolation("; ".join(broken[:5]))
    return cluster, project


async def resolved_of(
    spec: ApplicationSpec, commits: Commits, revisions: dict[str, str]
) -> dict[tuple[str, str], str]:
    """The commit of each (address, revision); `revisions` learns each as soon as it is known.

    Raises the errors of `hub.sources`.
    """
    found: dict[tuple[str, str], str] = {}
    for address, revision in spec.origins():
        commit = await commits.resolve(address, revision)
        found[address, revision] = commit
        revisions[f"{address}@{revision}"] = commit
    return found


async def check_all_signed(
    commits: Commits, project: ProjectSpec, resolved: Mapping[tuple[str, str], str]
) -> None:
    """Raises `SignatureError` for the first that the project wants signed, and that is not."""
    for (address, revision), commit in resolved.items():
        await check_signed(commits, project, address, revision=revision, commit=commit)
