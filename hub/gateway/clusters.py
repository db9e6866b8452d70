"""The Cluster objects, as the gateway sees and writes them."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION, MANAGER_GATEWAY
from agent.kube.reflector import CacheNotSynced
from hub.gateway import paths
from hub.gateway.errors import CertificateRefused, ClusterGoing, RequestInvalid, TokenRefused
from hub.gateway.peers import ANNOTATION_RENEWAL, renewal_of

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.contract.wire import JoinRequest
    from agent.kube.client import RestClient
    from agent.kube.reflector import Reflector
    from hub.gateway.tokens import TokenRecord

log = logging.getLogger(__name__)

_NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 404, 409, 422
_SEEN_SECONDS = 2.0
"""How long to wait for our own write to come back. Beyond it the agent merely has to ask again."""


class Clusters:
    """Reads come from the cache; after a write the cache is awaited, so that the next request finds it."""

    def __init__(self, client: RestClient, reflector: Reflector) -> None:
        self._client = client
        self._reflector = reflector

    def get(self, name: str) -> Manifest | None:
        return self._reflector.items.get(("", name))

    async def enrol(self, request: JoinRequest, record: TokenRecord) -> Manifest:
        """Make the Cluster that a token's holder asks for, or bring it up to what the token says.

        Labels of the token win over those that are there; a spoke's own only fill gaps.
        """
        path = paths.cluster(request.cluster)
        own = record.allowed(request.labels)
        try:
            cluster = await self._client.get(path)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            if record.enrolled:
                raise TokenRefused("the token was used, and its cluster was removed since") from error
            cluster = await self._create(request.cluster, labels=own | dict(record.labels), record=record)
        if cluster["metadata"].get("deletionTimestamp"):
            raise ClusterGoing(f"cluster {request.cluster} is being removed: join again when it is gone")
        if not record.enrolled:
            patch = _spec_patch(cluster, own=own, record=record)
            if patch:
                cluster = await self._write(path, patch)
            agent = _agent_info(request)
            if not agent.items() <= ((cluster.get("status") or {}).get("agent") or {}).items():
                cluster = await self._write(path, {"status": {"agent": agent}}, subresource="status")
        return cluster

    async def install(self, request: JoinRequest, *, fingerprint: str) -> None:
        """Put a first certificate in force, with the key that secret values are sealed to."""
        status = {
            "fingerprint": fingerprint,
            "sealingKey": request.sealing_key,
            "agent": _agent_info(request),
        }
        await self._write(paths.cluster(request.cluster), {"status": status}, subresource="status")

    async def announce(self, name: str, *, in_force: str, renewed: str) -> None:
        """Let the renewed certificate follow the one in force."""
        annotations = {ANNOTATION_RENEWAL: renewal_of(in_force, renewed)}
        await self._write(paths.cluster(name), {"metadata": {"annotations": annotations}})

    async def promote(self, name: str, *, renewed: str) -> None:
        """Put a renewed certificate in force at its first use. The old one ends with that.

        Raises `CertificateRefused` where the one in force changed meanwhile: it was revoked.
        """
        cluster = self.get(name)
        in_force = ((cluster or {}).get("status") or {}).get("fingerprint") or ""
        operations = [
            {"op": "test", "path": "/status/fingerprint", "value": in_force},
            {"op": "replace", "path": "/status/fingerprint", "value": renewed},
        ]
        try:
            written = await self._client.json_patch(
                paths.cluster(name), operations, field_manager=MANAGER_GATEWAY, subresource="status"
            )
        except ApiError as error:
            if error.transient:
                raise
            raise CertificateRefused from error
        await self._seen(written)

    async def write_agent(self, name: str, agent: dict[str, Any]) -> None:
        """Write what the agent says about itself. Fields that it does not name stay."""
        await self._write(paths.cluster(name), {"status": {"agent": agent}}, subresource="status", wait=False)

    async def _create(self, name: str, *, labels: dict[str, str], record: TokenRecord) -> Manifest:
        obj = {
            "apiVersion": API_VERSION,
            "kind": "Cluster",
            "metadata": {"name": name, "labels": labels},
            "spec": {"accepted": record.auto_accept},
        }
        try:
            return await self._client.create(paths.CLUSTERS, obj, field_manager=MANAGER_GATEWAY)
        except ApiError as error:
            if error.status == _CONFLICT:
                return await self._client.get(paths.cluster(name))
            if error.status == _UNPROCESSABLE:
                raise RequestInvalid(f"cluster {name} cannot be made: {error}") from error
            raise

    async def _write(
        self, path: str, patch: Manifest, *, subresource: str = "", wait: bool = True
    ) -> Manifest:
        try:
            written = await self._client.merge_patch(
                path, patch, field_manager=MANAGER_GATEWAY, subresource=subresource
            )
        except ApiError as error:
            if error.status == _UNPROCESSABLE:
                raise RequestInvalid(f"the cluster cannot be written: {error}") from error
            raise
        if wait:
            await self._seen(written)
        return written

    async def _seen(self, written: Manifest) -> None:
        metadata = written["metadata"]
        with contextlib.suppress(CacheNotSynced):
            await self._reflector.wait_version(
                ("", metadata["name"]), metadata["resourceVersion"], _SEEN_SECONDS
            )


async def revoke(client: RestClient, name: str) -> None:
    """Cut a cluster's agent off, at once and until it joins again. Its renewal, if any, goes with it."""
    await client.merge_patch(
        paths.cluster(name),
        {"status": {"fingerprint": ""}},
        field_manager=MANAGER_GATEWAY,
        subresource="status",
    )


def _spec_patch(cluster: Manifest, *, own: dict[str, str], record: TokenRecord) -> Manifest:
    """Find what is missing of the token's labels and acceptance."""
    held = cluster["metadata"].get("labels") or {}
    wanted = {key: value for key, value in own.items() if key not in held} | dict(record.labels)
    labels = {key: value for key, value in wanted.items() if held.get(key) != value}
    patch: Manifest = {}
    if labels:
        patch["metadata"] = {"labels": labels}
    if record.auto_accept and not (cluster.get("spec") or {}).get("accepted"):
        patch["spec"] = {"accepted": True}
    return patch


def _agent_info(request: JoinRequest) -> dict[str, Any]:
    return {
        "version": request.agent_version,
        "kubernetesVersion": request.kubernetes_version,
        "clusterUid": request.cluster_uid,
    }
