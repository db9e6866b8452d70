"""Becoming a spoke of a hub, once, and staying one: the join and the renewal.

First contact, without a certificate of the hub on the spoke: the agent reads `GET /agent/v1/ca` over a
connection that it does not trust, and compares the certificate's sha256 with the one in its token. Only then does
it connect again, trusting that CA alone and checking the hub's name, and sends the token. Whoever stands between
can withhold the CA but not replace it, and never sees the secret.
"""

from __future__ import annotations

import base64
import json
import random
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.contract.canonical import sha256_hex
from agent.contract.errors import TransientError
from agent.contract.wire import CLUSTER_SAN_PREFIX, JoinRequest, JoinResponse, RenewRequest, ReturnRequest
from agent.link.identity import next_sealing_public, promoted
from agent.link.session import (
    Answer,
    HubSession,
    HubUnreachable,
    NoInformation,
    client_context,
    pinned_context,
)

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.contract.model import WireModel
    from agent.contract.token import JoinToken
    from agent.link.identity import Identity

CA_PATH = "/agent/v1/ca"
JOIN_PATH = "/agent/v1/join"
RENEW_PATH = "/agent/v1/renew"
RETURN_PATH = "/agent/v1/return"
_MAX_CA = 64 * 1024
_MAX_JOIN = 256 * 1024
_DEFAULT_PENDING = 5.0
_OK, _CREATED, _ACCEPTED = 200, 201, 202
_RENEW_AT = (0.6, 0.7)
"""Of a certificate's life, about two thirds: spread, so that a fleet that joined in an hour does not renew in one."""
_PEM_END = "-----END CERTIFICATE-----"


class HubNotTrusted(NoInformation):
    """The server's CA is not the one in the token, or its answer names another hub: a wrong or false hub."""

    reason = "HubNotTrusted"


class JoinPending(TransientError):
    """Asked, and not yet accepted by an administrator of the hub."""

    reason = "JoinPending"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the hub is told about the spoke when it joins."""

    agent_version: str = ""
    kubernetes_version: str = ""
    labels: dict[str, str] = field(default_factory=dict)


async def fetch_ca(config: AgentConfig, token: JoinToken, *, user_agent: str) -> str:
    """The hub's CA in PEM, proven by the token's hash. Raises `HubNotTrusted`, `HubUnreachable`."""
    given = config.hub_ca()
    if given:
        return _proven(given, token, where="in the CA file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent, and what comes is compared with the token's hash
    session = HubSession(config.hub, context, user_agent=user_agent)
    try:
        answer = await session.exchange("GET", CA_PATH, limit=_MAX_CA)
    finally:
        await session.close()
    if answer.status != _OK:
        raise answer.refused("the hub's CA")
    return _proven(answer.body.decode("ascii", "replace"), token, where=f"at {config.hub}")


def _proven(text: str, token: JoinToken, *, where: str) -> str:
    """The CA in PEM, if it is the one that the token names."""
    try:
        der = ssl.PEM_cert_to_DER_cert(text.strip())
    except ValueError as error:
        raise HubNotTrusted(f"what is {where} is no CA certificate") from error
    if sha256_hex(der) != token.ca:
        raise HubNotTrusted(
            f"the CA {where} is not the one that the token names: a wrong address, a renewed CA or a "
            "connection that someone intercepts"
        )
    return ssl.DER_cert_to_PEM_cert(der)


async def join(config: AgentConfig, token: JoinToken, identity: Identity, facts: Facts) -> Identity:
    """The identity completed by the hub. Raises `JoinPending` (202), `NoInformation` for the rest."""
    user_agent = f"axletree-agent/{facts.agent_version or '0'}"
    ca = await fetch_ca(config, token, user_agent=user_agent)
    request = JoinRequest(
        token=token.encode(),
        cluster=identity.cluster,
        csr=_csr(identity.cluster, identity.private_key),
        sealing_key=base64.b64encode(identity.sealing_public).decode(),
        cluster_uid=identity.cluster_uid,
        agent_version=facts.agent_version,
        kubernetes_version=facts.kubernetes_version,
        labels=facts.labels,
    )
    session = HubSession(config.hub, pinned_context(ca), user_agent=user_agent)
    try:
        answer = await session.exchange("POST", JOIN_PATH, body=_body(request), limit=_MAX_JOIN)
    finally:
        await session.close()
    if answer.status == _ACCEPTED:
        wait = answer.retry_after
        raise JoinPending(
            f"the hub has yet to accept the cluster {identity.cluster}",
            retry_after=_DEFAULT_PENDING if wait is None else wait,
        )
    joined = _complete(identity, answer, what="the join")
    if joined.hub_id != token.hub or token.ca not in _fingerprints(joined.ca):
        raise HubNotTrusted("the hub answered the join with an id or a CA other than the token's")
    return replace(joined, token_id=token.id)


async def renew(session: HubSession, identity: Identity) -> Identity:
    """The identity with a new certificate, for the keys that were prepared for it.

    They and the counter are the same until the answer is saved: an agent that is killed in between asks the same
    again. What is trusted does not change by this: that comes by signed documents alone (`agent.link.keys`).
    """
    request = RenewRequest(
        csr=_csr(identity.cluster, identity.next_key or identity.private_key),
        counter=identity.renewals,
        sealing_key=base64.b64encode(next_sealing_public(identity)).decode(),
    )
    answer = await session.exchange("POST", RENEW_PATH, body=_body(request), limit=_MAX_JOIN)
    renewed = _complete(promoted(identity), answer, what="the renewal", joining=False)
    return replace(renewed, renewals=identity.renewals + 1)


async def come_back(session: HubSession, identity: Identity, facts: Facts) -> bool:
    """Tell a hub that was made anew from its identity who we are. False while nobody has accepted that."""
    request = ReturnRequest(
        sealing_key=base64.b64encode(identity.sealing_public).decode(),
        cluster_uid=identity.cluster_uid,
        agent_version=facts.agent_version,
        kubernetes_version=facts.kubernetes_version,
        renewals=identity.renewals,
    )
    answer = await session.exchange("POST", RETURN_PATH, body=_body(request), limit=_MAX_JOIN)
    if answer.status not in {_OK, _ACCEPTED}:
        raise answer.refused("the return")
    return answer.status == _OK


def _complete(identity: Identity, answer: Answer, *, what: str, joining: bool = True) -> Identity:
    """Take the answer in, if it is our hub's, its certificate is for our key and cluster, and its CA loads."""
    if answer.status not in {_OK, _CREATED}:
        raise answer.refused(what)
    from cryptography import x509  # noqa: PLC0415 - only at a join or a renewal: it costs every agent memory
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        response = JoinResponse.model_validate_json(answer.body)
        certificate = x509.load_pem_x509_certificate(response.certificate.encode())
        ours = serialization.load_pem_private_key(identity.private_key.encode(), None).public_key()
        sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = sans.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValidationError, ValueError, x509.ExtensionNotFound) as error:
        raise HubUnreachable(f"{what}: an answer that does not read: {type(error).__name__}") from error
    if certificate.public_key() != ours or uris != [CLUSTER_SAN_PREFIX + identity.cluster]:
        raise HubNotTrusted(f"{what}: the certificate is not for this cluster and key")
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if not joining and response.hub_id != identity.hub_id:
        raise HubNotTrusted(f"{what}: the answer of another hub")
    joined = replace(
        identity,
        certificate=response.certificate,
        renew_at=begins + (ends - begins) * random.uniform(*_RENEW_AT),  # noqa: S311 - jitter
        expires_at=ends,
    )
    if joining:
        joined = replace(
            joined,
            hub_id=response.hub_id,
            ca=response.ca,
            signing_keys=dict(response.signing_keys),
            keys=response.keys,
        )
    try:
        client_context(joined)
    except ssl.SSLError as error:
        raise HubUnreachable(f"{what}: certificates that do not load") from error
    return joined


def _csr(cluster: str, private_key: str) -> str:
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415

    key = serialization.load_pem_private_key(private_key.encode(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError("the identity's key is not an EC key")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cluster[:64])])
    san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(CLUSTER_SAN_PREFIX + cluster)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name).add_extension(san, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _body(model: WireModel) -> bytes:
    return json.dumps(model.wire(), separators=(",", ":")).encode()


def _fingerprints(bundle: str) -> set[str]:
    """Hex sha256 of each certificate in a PEM text; none where it does not read."""
    pieces = bundle.split(_PEM_END)[:-1]
    try:
        return {sha256_hex(ssl.PEM_cert_to_DER_cert(piece.strip() + "\n" + _PEM_END)) for piece in pieces}
    except ValueError:
        return set()
