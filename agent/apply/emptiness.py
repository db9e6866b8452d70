"""Whether a namespace or a CRD still holds what is not ours: deleting either deletes all that is in it.

Every list must answer. What cannot be asked is not empty: a failed question raises, and nothing is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

_NOT_FOUND, _NOT_ALLOWED = 404, 405
_MADE_BY_SYSTEM = frozenset(
    {
        ("ConfigMap", "kube-root-ca.crt"),
        ("ConfigMap", "openshift-service-ca.crt"),
        ("ServiceAccount", "default"),
        ("ServiceAccount", "builder"),
        ("ServiceAccount", "deployer"),
    }
)
_FOLLOWS_OTHERS = frozenset({"Event", "Endpoints", "EndpointSlice"})


async def foreign_in_namespace(client: RestClient, namespace: str) -> str:
    """The first object there that nobody else accounts for, as `Kind name`; empty if there is none.

    What has an owner follows it, what is being deleted is going, and what Kubernetes puts into every
    namespace does not count. Claims that a StatefulSet made have no owner, and count: they hold data.
    """
    async for path in _namespaced(client, namespace):
        for item in await _list(client, path):
            if _foreign(item):
                return f"{item.get('kind', '')} {item['metadata']['name']}"
    return ""


async def left_of_definition(client: RestClient, crd: Manifest) -> tuple[str, bool]:
    """(the first custom resource still there, whether all that is left is being deleted)."""
    spec: dict[str, Any] = crd["spec"]
    version = next((v["name"] for v in spec["versions"] if v.get("served")), "")
    if not version:
        # Not served is not gone: nothing can be asked, so that nothing may be concluded.
        return f"{spec['names']['kind']} (no version is served)", False
    left = await _list(client, f"/apis/{spec['group']}/{version}/{spec['names']['plural']}")
    staying = [item for item in left if not item["metadata"].get("deletionTimestamp")]
    if not left:
        return "", False
    first = (staying or left)[0]["metadata"]
    name = f"{first['namespace']}/{first['name']}" if first.get("namespace") else first["name"]
    return f"{spec['names']['kind']} {name}", not staying


async def _namespaced(client: RestClient, namespace: str) -> AsyncIterator[str]:
    """Collections of that namespace that can be listed and deleted, each kind once.

    Every served version is asked for its kinds: a group's preferred one need not have them all.
    """
    groups = (await client.get("/apis")).get("groups") or ()
    roots = [("", "/api/v1")]
    for group in groups:
        found = [version["groupVersion"] for version in group.get("versions") or ()]
        preferred = (group.get("preferredVersion") or {}).get("groupVersion")
        roots += [
            (group["name"], f"/apis/{each}") for each in sorted(found, key=lambda one: one != preferred)
        ]
    seen: set[tuple[str, str]] = set()
    for group_name, root in roots:
        for resource in (await client.get(root)).get("resources") or ():
            verbs = resource.get("verbs") or ()
            if (
                resource.get("namespaced")
                and "/" not in resource["name"]
                and "list" in verbs
                and "delete" in verbs
                and resource["kind"] not in _FOLLOWS_OTHERS
                and (group_name, resource["name"]) not in seen
            ):
                seen.add((group_name, resource["name"]))
                yield f"{root}/namespaces/{namespace}/{resource['name']}"


async def _list(client: RestClient, path: str) -> list[Manifest]:
    try:
        return (await client.list(path)).items
    except ApiError as error:
        if error.status in {_NOT_FOUND, _NOT_ALLOWED}:
            return []
        raise


def _foreign(item: Manifest) -> bool:
    metadata = item["metadata"]
    if metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
        return False
    return (item.get("kind", ""), metadata["name"]) not in _MADE_BY_SYSTEM
