"""How a spoke gets its certificate, and a new one before that ends."""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.contract.errors import ApiError
from agent.contract.token import JoinToken, TokenInvalid
from agent.contract.wire import JoinRequest, JoinResponse, RenewRequest, ReturnRequest
from hub.gateway import tokens
from hub.gateway.certificates import (
    certificate_der,
    certificate_fingerprint,
    key_fingerprint,
    read_csr,
)
from hub.gateway.errors import CertificateRefused, NotReady, RequestInvalid, TokenRefused
from hub.gateway.peers import Admission, admit, peer_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.x509 import CertificateSigningRequest

    from agent.kube.client import RestClient
    from hub.gateway.clusters import Clusters
    from hub.gateway.identity import HubIdentity
    from hub.gateway.peers import Peer
    from hub.gateway.tokens import TokenRecord

log = logging.getLogger(__name__)

_SEALING_KEY_BYTES = 32
_CONFLICT = 409


class Enrolment:
    """Join and renew. Each step can be repeated, by this or another gateway, after any of them was lost."""

    def __init__(
        self,
        client: RestClient,
        identity: Callable[[], HubIdentity],
        clusters: Clusters,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._identity = identity
        self._clusters = clusters
        self._now = now

    async def join(self, request: JoinRequest) -> JoinResponse | None:
        """Give the answer to a spoke with a good token; None while nobody has accepted its cluster.

        Raises `TokenRefused`, `RequestInvalid`, `ClusterGoing`; `NotReady` where two joins met.
        """
        csr = read_csr(request.csr)
        _check_sealing_key(request.sealing_key)
        try:
            record = await self._claim(request, key_fingerprint(csr))
            if record.match and not record.enrolled:
                await self._check_free(request, record)
            cluster = await self._clusters.enrol(request, record)
            if not (cluster.get("spec") or {}).get("accepted"):
                return None
            record = await self._issue(record, csr)
            if not record.enrolled:
                peer = peer_of(certificate_der(record.certificate))
                await self._clusters.install(request, peer, now=self._now())
                await tokens.save(self._client, replace(record, enrolled=True))
                who = {"cluster": request.cluster}
                log.info(
                    "cluster %s joined with certificate %s",
                    request.cluster,
                    peer.fingerprint[:12],
                    extra=who,
                )
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            raise NotReady("two joins met: ask again", retry_after=1) from error
        return self._answer(record.certificate)

    async def renew(self, peer: Peer, request: RenewRequest) -> JoinResponse:
        """Issue a new certificate for who shows a valid one; it takes over at its first use."""
        certificate = self._identity().issue_client(read_csr(request.csr), peer.cluster, self._now())
        if request.sealing_key:
            _check_sealing_key(request.sealing_key)
        await self._clusters.announce(
            peer.cluster,
            in_force=peer.fingerprint,
            renewed=certificate_fingerprint(certificate),
            sealing_key=request.sealing_key,
        )
        await self._count(peer, request)
        return self._answer(certificate)

    async def come_back(self, peer: Peer, request: ReturnRequest) -> bool:
        """Let an agent back in that a recovered hub does not know; False while nobody has accepted it.

        Raises `CertificateRefused` for whoever this hub does know, and on a hub that was not recovered.
        """
        identity = self._identity()
        cluster = self._clusters.get(peer.cluster)
        if peer.issuer not in {each.key_id for each in identity.authorities}:
            raise CertificateRefused  # TLS forgets no CA that this process once trusted
        if admit(peer, cluster, now=self._now(), recovery=identity.recovery) is not Admission.UNKNOWN:
            raise CertificateRefused
        _check_sealing_key(request.sealing_key)
        return await self._clusters.returning(peer, request)

    async def _count(self, peer: Peer, request: RenewRequest) -> None:
        """An identity that was renewed more often than who asks says is held by someone else as well."""
        certificate = ((self._clusters.get(peer.cluster) or {}).get("status") or {}).get("certificate") or {}
        if request.counter < int(certificate.get("renewals") or 0):
            await self._clusters.mark_clone(
                peer.cluster, "a certificate in force was renewed with the counter of an older one"
            )

    def _answer(self, certificate: str) -> JoinResponse:
        identity = self._identity()
        return JoinResponse(
            certificate=certificate,
            ca=identity.trust_pem,
            hub_id=identity.hub_id,
            signing_keys=identity.public_keys,
            keys=identity.generation,
        )

    async def _claim(self, request: JoinRequest, key: str) -> TokenRecord:
        """Bind the token to this key, for good. Of two keys at once the API server lets one win."""
        try:
            token = JoinToken.parse(request.token)
        except TokenInvalid as error:
            raise TokenRefused("the token does not read") from error
        record = await tokens.load(self._client, token.id)
        tokens.verify(
            record,
            token=token,
            cluster=request.cluster,
            key=key,
            hub_id=self._identity().hub_id,
            now=self._now(),
            labels=request.labels,
        )
        if record.used_by:
            return record
        if not record.cluster:
            await self._check_free(request, record)
        return await tokens.save(self._client, replace(record, used_by=key, cluster=request.cluster))

    async def _check_free(self, request: JoinRequest, record: TokenRecord) -> None:
        """Two tokens for labels may meet at one name: whoever asked first has it, also until a person accepts it."""
        own = certificate_fingerprint(record.certificate) if record.certificate else ""
        match = {} if record.cluster else dict(record.match)  # what people do with its labels later is theirs
        await self._clusters.check_free(request.cluster, match=match, uid=request.cluster_uid, own=own)

    async def _issue(self, record: TokenRecord, csr: CertificateSigningRequest) -> TokenRecord:
        """Fill in the certificate: kept before it is handed out, so that a repeat gives the same."""
        if record.certificate:
            return record
        certificate = self._identity().issue_client(csr, record.cluster, self._now())
        return await tokens.save(self._client, replace(record, certificate=certificate))


def _check_sealing_key(text: str) -> None:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise RequestInvalid("sealingKey is not base64") from error
    if len(key) != _SEALING_KEY_BYTES:
        raise RequestInvalid(f"sealingKey is not an X25519 public key of {_SEALING_KEY_BYTES} bytes")
