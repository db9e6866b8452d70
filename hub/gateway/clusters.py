"""The Cluster objects, as the gateway sees and writes them."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION, MANAGER_GATEWAY
from agent.kube.reflector import CacheNotSynced
from hub.gateway import paths
from hub.gateway.errors import CertificateRefused, ClusterGoing, RequestInvalid, TokenRefused
from hub.gateway.peers import (
    ANNOTATION_RENEWAL,
    ANNOTATION_RETURNING,
    ANNOTATION_SEALING,
    renewal_of,
)

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.contract.wire import JoinRequest, ReturnRequest
    from agent.kube.client import RestClient
    from agent.kube.reflector import Reflector
    from hub.gateway.peers import Peer
    from hub.gateway.tokens import TokenRecord

log = logging.getLogger(__name__)

_NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 404, 409, 422
_POSITION = ("epoch", "seq")
_SEEN_SECONDS = 8.0
"""How long to wait for our own write to come back. Beyond it the agent merely has to ask again."""


class Clusters:
    """Reads come from the cache; after a write the cache is awaited, so that the next request finds it."""

    def __init__(self, client: RestClient, reflector: Reflector) -> None:
        self._client = client
        self._reflector = reflector

    @property
    def count(self) -> int:
        return len(self._reflector.items)

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
            cluster = await self._create(
                request.cluster, labels=own | dict(record.labels), accepted=record.auto_accept
            )
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

    async def check_free(self, name: str, *, match: dict[str, str], uid: str, own: str = "") -> None:
        """Raise `TokenRefused` where a token that names no cluster would take one from whoever has it, or asks for it.

        A Cluster that was declared beforehand may be joined so if it has the token's labels itself. `uid`: of the
        cluster that asks; `own`: the fingerprint of what the token gave already.
        """
        try:
            cluster = await self._client.get(paths.cluster(name))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return
        labels, status = cluster["metadata"].get("labels") or {}, cluster.get("status") or {}
        known = "fingerprint" in status and (not own or status["fingerprint"] != own)
        asked = (status.get("agent") or {}).get("clusterUid") or uid
        if known or asked != uid or not match.items() <= labels.items():
            raise TokenRefused(
                f"there is a cluster {name} already: only a token for that name lets it join again"
            )

    async def install(self, request: JoinRequest, peer: Peer, *, now: datetime) -> None:
        """Put a first certificate in force, with the key that secret values are sealed to."""
        status = {
            "fingerprint": peer.fingerprint,
            "sealingKey": request.sealing_key,
            "certificate": {
                "joinedAt": _text(now),
                "since": _text(now),
                "notAfter": _text(peer.not_after),
                "renewals": 0,
                "issuer": peer.issuer,
            },
            "clone": None,
            "agent": _agent_info(request),
        }
        await self._write(paths.cluster(request.cluster), {"status": status}, subresource="status")

    async def announce(self, name: str, *, in_force: str, renewed: str, sealing_key: str = "") -> None:
        """Let the renewed certificate follow the one in force, and with it, if given, a key to seal to."""
        sealing = renewal_of(renewed, sealing_key) if sealing_key else None
        annotations = {ANNOTATION_RENEWAL: renewal_of(in_force, renewed), ANNOTATION_SEALING: sealing}
        await self._write(paths.cluster(name), {"metadata": {"annotations": annotations}})

    async def promote(self, peer: Peer, *, now: datetime) -> None:
        """Put a renewed certificate in force at its first use. The old one ends with that.

        An agent's requests go side by side, and to several gateways: whichever comes first does it for all of them.
        Raises `CertificateRefused` where the one in force is yet another by now: it was revoked, or joined anew.
        """
        cluster = self.get(peer.cluster) or {}
        status = cluster.get("status") or {}
        certificate = status.get("certificate") or {}
        certificate = certificate | {
            "since": _text(now),
            "notAfter": _text(peer.not_after),
            "renewals": int(certificate.get("renewals") or 0) + 1,
            "issuer": peer.issuer,
        }
        operations: list[Manifest] = [
            {"op": "test", "path": "/status/fingerprint", "value": status.get("fingerprint") or ""},
            {"op": "replace", "path": "/status/fingerprint", "value": peer.fingerprint},
            {"op": "add", "path": "/status/certificate", "value": certificate},
        ]
        annotations = (cluster.get("metadata") or {}).get("annotations") or {}
        of, _, sealing_key = annotations.get(ANNOTATION_SEALING, "").partition(":")
        if of == peer.fingerprint and sealing_key:
            operations.append({"op": "add", "path": "/status/sealingKey", "value": sealing_key})
        try:
            written = await self._client.json_patch(
                paths.cluster(peer.cluster), operations, field_manager=MANAGER_GATEWAY, subresource="status"
            )
        except ApiError as error:
            if error.transient:
                raise
            found = await self._promoted(peer)
            if found is None:
                raise CertificateRefused from error
            written = found
        await self._seen(written)

    async def _promoted(self, peer: Peer) -> Manifest | None:
        """The Cluster, where this certificate is in force already: the cache need not have seen that yet."""
        try:
            found = await self._client.get(paths.cluster(peer.cluster))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        return found if (found.get("status") or {}).get("fingerprint") == peer.fingerprint else None

    async def mark_clone(self, name: str, message: str) -> None:
        """Note that two agents speak with one identity; once: it is a person who takes the note away."""
        cluster = self.get(name)
        if cluster is None or (cluster.get("status") or {}).get("clone"):
            return
        log.warning("cluster %s: cloned: %s", name, message, extra={"cluster": name})
        clone = {"since": _text(datetime.now(UTC)), "message": message}
        await self._write(paths.cluster(name), {"status": {"clone": clone}}, subresource="status")

    async def returning(self, peer: Peer, request: ReturnRequest) -> bool:
        """Let a cluster that is not known ask to be; once accepted, its certificate is in force again."""
        name = peer.cluster
        cluster = self.get(name)
        annotations = {ANNOTATION_RETURNING: peer.fingerprint}
        agent = {
            "version": request.agent_version,
            "kubernetesVersion": request.kubernetes_version,
            "clusterUid": request.cluster_uid,
        }
        if cluster is None:
            cluster = await self._create(name, labels={}, accepted=False, annotations=annotations)
            await self._write(paths.cluster(name), {"status": {"agent": agent}}, subresource="status")
        elif ANNOTATION_RETURNING not in (cluster["metadata"].get("annotations") or {}):
            await self._write(paths.cluster(name), {"metadata": {"annotations": annotations}})
        elif cluster["metadata"]["annotations"][ANNOTATION_RETURNING] != peer.fingerprint:
            raise CertificateRefused
        if not (cluster.get("spec") or {}).get("accepted"):
            return False
        since = peer.issued or datetime.now(UTC)
        status = {
            "fingerprint": peer.fingerprint,
            "sealingKey": request.sealing_key,
            "agent": agent,
            "certificate": {
                "joinedAt": _text(since),
                "since": _text(since),
                "notAfter": _text(peer.not_after),
                "renewals": request.renewals,
                "issuer": peer.issuer,
            },
        }
        await self._write(paths.cluster(name), {"status": status}, subresource="status")
        await self._write(paths.cluster(name), {"metadata": {"annotations": {ANNOTATION_RETURNING: None}}})
        return True

    async def write_agent(self, name: str, agent: dict[str, Any]) -> None:
        """Write what the agent says about itself, if that is news. Fields that it does not name stay.

        Its position alone is none: a fleet that comes back to a hub that was restarted says what is known.
        """
        held = ((self.get(name) or {}).get("status") or {}).get("agent") or {}
        if all(key in _POSITION or held.get(key) == value for key, value in agent.items()):
            return
        await self._write(paths.cluster(name), {"status": {"agent": agent}}, subresource="status", wait=False)

    async def _create(
        self, name: str, *, labels: dict[str, str], accepted: bool, annotations: dict[str, str] | None = None
    ) -> Manifest:
        obj = {
            "apiVersion": API_VERSION,
            "kind": "Cluster",
            "metadata": {"name": name, "labels": labels, "annotations": annotations or {}},
            "spec": {"accepted": accepted},
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


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _agent_info(request: JoinRequest) -> dict[str, Any]:
    return {
        "version": request.agent_version,
        "kubernetesVersion": request.kubernetes_version,
        "clusterUid": request.cluster_uid,
    }
