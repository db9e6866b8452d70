"""What a new hub and a new spoke need on their API servers before anything of ours runs there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, TransientError
from agent.contract.names import (
    AGENT_NAMESPACE,
    API_VERSION,
    HUB_NAMESPACE,
    LABEL_AGENT_CLUSTER,
    LABEL_STATE,
    short_hash,
)
from agent.kube.discovery import RestMapper
from agent.kube.yaml import load_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

MANAGER = "axle"
CRDS = Path(__file__).resolve().parents[2] / "crds"
ESTABLISHED_SECONDS = 120.0
_NOT_YET = (404, 429, 503)


class NotEstablished(TransientError):
    reason = "NotEstablished"


async def apply_all(
    client: RestClient, manifests: Iterable[Manifest], *, manager: str = MANAGER, namespace: str = ""
) -> None:
    """Server-side apply in the given order. `namespace` is where objects go that need one and name none."""
    mapper = RestMapper(client)
    for manifest in manifests:
        metadata = manifest["metadata"]
        resource = await mapper.resource(manifest["apiVersion"], manifest["kind"], refresh=False)
        path = resource.path(metadata.get("namespace") or namespace, metadata["name"])
        await client.apply(path, manifest, field_manager=manager, force=True)


async def install_crds(
    client: RestClient, crds: Sequence[Manifest] | None = None, *, manager: str = MANAGER
) -> None:
    """Apply our CRDs, or those that are given, and wait until each is served."""
    if crds is None:
        files = sorted(CRDS.glob("*.yaml"))
        crds = [crd for path in files for crd in load_all(path.read_text(), source=path.name)]
    await apply_all(client, crds, manager=manager)
    for crd in crds:
        await _established(client, crd["metadata"]["name"])


async def _established(client: RestClient, name: str) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ESTABLISHED_SECONDS
    while True:
        crd = await client.get(path)
        conditions = {
            each["type"]: each["status"] for each in (crd.get("status") or {}).get("conditions") or ()
        }
        if conditions.get("Established") == "True" and await _listed(client, crd):
            return
        if loop.time() > deadline:
            raise NotEstablished(f"CRD {name} is not Established after {ESTABLISHED_SECONDS:.0f} s")
        await asyncio.sleep(0.05)


async def _listed(client: RestClient, crd: Manifest) -> bool:
    """Whether its objects can be read: for a moment after it is Established, the API server still begins with them."""
    spec = crd["spec"]
    version = next(each["name"] for each in spec["versions"] if each.get("served"))
    try:
        await client.get(
            f"/apis/{spec['group']}/{version}/{spec['names']['plural']}",
            params={"limit": "1", "resourceVersion": "0"},
        )
    except ApiError as error:
        if error.status not in _NOT_YET:
            raise
        return False
    return True


async def install_hub(client: RestClient) -> None:
    """CRDs and the hub's own namespace."""
    await apply_all(client, [namespace_object(HUB_NAMESPACE)])
    await install_crds(client)


async def install_spoke(client: RestClient, *, service_accounts: Iterable[str]) -> None:
    """The agent's namespace, and the ServiceAccounts that it impersonates, with rights to deploy.

    A local fleet gives each of them the built-in `cluster-admin`: what a tenant may deploy is still its Project's
    to say, and real spokes get narrower roles.
    """
    objects: list[Manifest] = [namespace_object(AGENT_NAMESPACE)]
    for name in service_accounts:
        subject = {"kind": "ServiceAccount", "name": name, "namespace": AGENT_NAMESPACE}
        objects += [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": AGENT_NAMESPACE},
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"axletree-{name}"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [subject],
            },
        ]
    await apply_all(client, objects)


async def declare_cluster(
    client: RestClient, name: str, *, labels: dict[str, str], values: dict[str, Any]
) -> None:
    """A Cluster that is accepted before it asks, as an administrator would declare it."""
    await apply_all(
        client,
        [
            {
                "apiVersion": API_VERSION,
                "kind": "Cluster",
                "metadata": {"name": name, "labels": labels},
                "spec": {"accepted": True, "values": values},
            }
        ],
    )


async def forget_identity(client: RestClient, cluster: str) -> None:
    """Let the agent of a spoke join anew: who it was, and the order of the Assignments that it followed, go.

    For a spoke that its hub no longer knows. What the agent applied, and its inventories, stay.
    """
    secrets = f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets"
    selector = f"{LABEL_AGENT_CLUSTER}={short_hash(cluster)},{LABEL_STATE} in (identity, assignment)"
    for secret in (await client.list(secrets, label_selector=selector)).items:
        await client.delete(f"{secrets}/{secret['metadata']['name']}", uid=secret["metadata"]["uid"])


async def declared(client: RestClient, name: str) -> Manifest | None:
    """The Cluster of this name, if the hub has one."""
    try:
        return await client.get(f"/apis/{API_VERSION}/clusters/{name}")
    except ApiError as error:
        if error.status != 404:  # noqa: PLR2004 - HTTP status
            raise
        return None


async def joined(client: RestClient, name: str) -> bool:
    """Whether this cluster's agent has a certificate already: then it needs no token."""
    cluster = await declared(client, name)
    return bool(((cluster or {}).get("status") or {}).get("sealingKey"))


def namespace_object(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
