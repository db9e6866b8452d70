"""Where the objects that the gateway reads and writes are, on the hub's API server."""

from __future__ import annotations

from agent.contract.names import API_VERSION, HUB_NAMESPACE

CLUSTERS = f"/apis/{API_VERSION}/clusters"
ASSIGNMENTS = f"/apis/{API_VERSION}/namespaces/{HUB_NAMESPACE}/assignments"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{HUB_NAMESPACE}/leases"
SECRETS = f"/api/v1/namespaces/{HUB_NAMESPACE}/secrets"


def cluster(name: str) -> str:
    return f"{CLUSTERS}/{name}"


def lease(name: str) -> str:
    return f"{LEASES}/{name}"


def secret(name: str) -> str:
    return f"{SECRETS}/{name}"


def application(key: str) -> str:
    """From `namespace/name`."""
    namespace, _, name = key.partition("/")
    return f"/apis/{API_VERSION}/namespaces/{namespace}/applications/{name}"
