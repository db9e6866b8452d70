"""What a folder in Git must hold so that a hub can be installed from it, and then keeps itself as it says. Pure.

The root Application is the one object that is not in that folder: it is what reads it. Were it in there, the file's
removal would be a person's deletion of everything that the root ever made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.errors import TerminalError
from agent.contract.names import (
    AGENT_NAMESPACE,
    ANNOTATION_KEEP,
    API_VERSION,
    GROUP,
    HUB_CLUSTER,
    HUB_NAMESPACE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.contract.manifest import Manifest

ROOT, HUB, AGENT, DEPLOYER = "root", "axletree-hub", "axletree-agent", "hub-deployer"
CHARTS = (HUB, AGENT)
_KEEP = {ANNOTATION_KEEP: "true"}


class SeedIncomplete(TerminalError):
    """The folder in Git lacks something without which no hub could keep itself."""

    reason = "SeedIncomplete"


@dataclass(frozen=True, slots=True)
class Seed:
    """What is needed of the folder before its own root Application can apply all of it."""

    project: Manifest
    cluster: Manifest
    """The hub as its own spoke."""
    hub: Manifest
    """The Application that is the hub's controller and gateways."""
    agent: Manifest
    """The Application that is the agent on the hub's cluster."""


def root_application(*, repo: str, revision: str, path: str) -> Manifest:
    """The Application on the hub that applies the folder, this hub included."""
    return _ours("Application", ROOT) | {
        "spec": {
            "cluster": HUB_CLUSTER,
            "namespace": HUB_NAMESPACE,
            "sources": [{"repoURL": repo, "revision": revision, "path": path or "."}],
        }
    }


def seed_of(objects: Sequence[Manifest], *, where: str) -> Seed:
    """Find what is needed among what the root would apply. Raises `SeedIncomplete`, which says what is missing."""
    project = _find(objects, "Project", "project")
    hub, agent = (_find(objects, "Application", name) for name in (HUB, AGENT))
    missing = [
        f"the {kind} {HUB_NAMESPACE}/{name}"
        for kind, name, found in (
            ("Project", "project", project),
            ("Application", HUB, hub),
            ("Application", AGENT, agent),
        )
        if found is None
    ]
    if project is None or hub is None or agent is None:
        raise SeedIncomplete(
            f"{where} lacks {', '.join(missing)}: `axle bootstrap --write DIR` writes files to begin with"
        )
    if _find(objects, "Application", ROOT) is not None:
        raise SeedIncomplete(
            f"{where} holds the Application {HUB_NAMESPACE}/{ROOT} itself: take it out, this command makes it"
        )
    for app in (hub, agent):
        if (app.get("spec") or {}).get("cluster") != HUB_CLUSTER:
            raise SeedIncomplete(
                f"{where}: the Application {app['metadata']['name']} is not for the cluster {HUB_CLUSTER}"
            )
    cluster = _find(objects, "Cluster", HUB_CLUSTER) or _cluster()
    return Seed(project=project, cluster=cluster, hub=hub, agent=agent)


def first(objects: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of these kinds alone: what others refer to."""
    return [each for each in objects if each["kind"] in kinds]


def starter(
    *, repo: str, revision: str, path: str, hosts: Sequence[str], image: str, agent_image: str = ""
) -> dict[str, list[Manifest]]:
    """Files to begin with, by name; the charts go beside them, into `charts/`."""
    folder = path.strip("/")

    def of(image: str) -> dict[str, Any]:
        return {"image": {"repository": image}} if image else {}

    hub_values: dict[str, Any] = {"hosts": list(hosts), **of(image)}
    agent_values: dict[str, Any] = {
        "cluster": HUB_CLUSTER,
        "hubUrl": f"https://axletree-gateway.{HUB_NAMESPACE}.svc:8443",
        "join": {"existing": True},
        "namespaces": {"agent": True},
        "projects": [{"serviceAccount": DEPLOYER, "role": "cluster-admin"}],
        "reads": [{"group": GROUP, "resources": ["*"]}],
        **of(agent_image),
    }

    def app(name: str, namespace: str, values: dict[str, Any]) -> Manifest:
        chart = "/".join(part for part in (folder, "charts", name) if part and part != ".")
        source = {"repoURL": repo, "revision": revision, "path": chart}
        made = _ours("Application", name)
        # What reads this folder must not go because a file was moved.
        made["metadata"]["annotations"] = dict(_KEEP)
        helm = {"releaseName": name, "values": values}
        spec = {"cluster": HUB_CLUSTER, "namespace": namespace, "sources": [source | {"helm": helm}]}
        return made | {"spec": spec}

    project = _ours("Project", "project")
    project["metadata"]["annotations"] = dict(_KEEP)
    project["spec"] = {
        "sourceRepos": [repo],
        "destinations": [{"clusters": [HUB_CLUSTER], "namespaces": ["*"]}],
        "clusterResources": [{"group": "*", "kind": "*"}],
        "serviceAccount": DEPLOYER,
    }
    return {
        "project.yaml": [project],
        "hub.yaml": [app(HUB, HUB_NAMESPACE, hub_values)],
        "agent.yaml": [app(AGENT, AGENT_NAMESPACE, agent_values)],
    }


def _find(objects: Iterable[Manifest], kind: str, name: str) -> Manifest | None:
    for each in objects:
        metadata = each["metadata"]
        namespace = metadata.get("namespace") or HUB_NAMESPACE
        ours = each["apiVersion"].startswith(f"{GROUP}/") and each["kind"] == kind
        if ours and metadata["name"] == name and (kind == "Cluster" or namespace == HUB_NAMESPACE):
            return (
                each if kind == "Cluster" else {**each, "metadata": {**metadata, "namespace": HUB_NAMESPACE}}
            )
    return None


def _ours(kind: str, name: str) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": HUB_NAMESPACE},
    }


def _cluster() -> Manifest:
    metadata = {"name": HUB_CLUSTER, "labels": {f"{GROUP}/hub": "true"}}
    return {"apiVersion": API_VERSION, "kind": "Cluster", "metadata": metadata, "spec": {"accepted": True}}
