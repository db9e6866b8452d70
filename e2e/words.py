"""What the tests call things: paths of the collections that they look at, fields of their objects."""

from __future__ import annotations

from typing import Any

from agent.contract.names import API_VERSION

APPS = f"/apis/{API_VERSION}/applications"
SETS = f"/apis/{API_VERSION}/applicationsets"
CLUSTERS = f"/apis/{API_VERSION}/clusters"
PROJECTS = f"/apis/{API_VERSION}/projects"
ASSIGNMENTS = f"/apis/{API_VERSION}/assignments"
NAMESPACES = "/api/v1/namespaces"
CONFIG_MAPS = "/api/v1/configmaps"
SERVICES = "/api/v1/services"
DEPLOYMENTS = "/apis/apps/v1/deployments"
JOBS = "/apis/batch/v1/jobs"
ROOT = "axletree-system/root"

Object = dict[str, Any]


def one(collection: str, key: str, subresource: str = "") -> str:
    """The path of one object, from its collection's over all namespaces and `namespace/name`."""
    namespace, _, name = key.rpartition("/")
    base, _, plural = collection.rpartition("/")
    path = f"{base}/namespaces/{namespace}/{plural}/{name}" if namespace else f"{collection}/{name}"
    return f"{path}/{subresource}" if subresource else path


def status(obj: Object | None, *fields: str) -> Any:
    """A field of the status; None where it or anything on the way is missing."""
    value: Any = (obj or {}).get("status")
    for field in fields:
        value = value.get(field) if isinstance(value, dict) else None
    return value


def condition(obj: Object | None, name: str) -> Object:
    """A condition by its type; empty where there is none."""
    found = (each for each in status(obj, "conditions") or () if each["type"] == name)
    return next(found, {})


def image(deployment: Object) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def at_rest(deployment: Object) -> bool:
    """Whether its controllers have nothing left to write: old Pods may go after the new ones are available."""
    found, replicas = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return (
        found.get("observedGeneration") == deployment["metadata"]["generation"]
        and all(found.get(each, 0) == replicas for each in counts)
        and not found.get("terminatingReplicas")
        and condition(deployment, "Progressing").get("reason") == "NewReplicaSetAvailable"
    )


def version(obj: Object) -> tuple[str, str]:
    """What changes with every write, and when the object is made anew."""
    return obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]


def only(found: list[Any] | None) -> Any:
    """The one entry of a list that must have exactly one."""
    assert found is not None
    assert len(found) == 1, found
    return found[0]
