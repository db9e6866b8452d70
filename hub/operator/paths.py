"""Where our kinds live on the hub's API server."""

from __future__ import annotations

from agent.contract.names import GROUP, HUB_NAMESPACE, VERSION

_BASE = f"/apis/{GROUP}/{VERSION}"

CLUSTERS = f"{_BASE}/clusters"
CLUSTER_SETS = f"{_BASE}/clustersets"
PROJECTS = f"{_BASE}/projects"
APPLICATION_SETS = f"{_BASE}/applicationsets"
APPLICATIONS = f"{_BASE}/applications"
ASSIGNMENTS = f"{_BASE}/namespaces/{HUB_NAMESPACE}/assignments"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{HUB_NAMESPACE}/leases"
SECRETS = "/api/v1/secrets"
CONFIG_MAPS = "/api/v1/configmaps"
NAMESPACES = "/api/v1/namespaces"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def namespaced(collection: str, namespace: str, name: str = "") -> str:
    """The path of one object (or of the collection) in a namespace, from the path over all namespaces."""
    base, _, plural = collection.rpartition("/")
    path = f"{base}/namespaces/{namespace}/{plural}"
    return f"{path}/{name}" if name else path


def application(key: str) -> str:
    namespace, _, name = key.partition("/")
    return namespaced(APPLICATIONS, namespace, name)


def application_set(key: str) -> str:
    namespace, _, name = key.partition("/")
    return namespaced(APPLICATION_SETS, namespace, name)
