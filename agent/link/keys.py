"""Following the hub from one generation of its CA and signing keys to the next.

Each generation is a document that a key of the one before has signed. So an agent that was away for a whole
replacement, or for several, gets from what it trusts to what it is to trust by itself, and nobody who does not
hold one of those keys can lead it anywhere else.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agent.contract.signing import SignatureInvalid, verify
from agent.contract.wire import KeysAnswer, KeysDocument, SignedKeys
from agent.link.session import HubSession, HubUnreachable, NoInformation, client_context, pinned_context

if TYPE_CHECKING:
    from agent.link.identity import Identity

PATH = "/agent/v1/keys"
_OK = 200
_MAX_ANSWER = 2 * 1024 * 1024


class KeysUntrusted(NoInformation):
    """What should lead to the hub's present keys does not begin at keys that this agent knows."""

    reason = "KeysUntrusted"


def follow(identity: Identity, chain: list[SignedKeys]) -> Identity:
    """The identity with the newest keys that the chain proves. Raises `KeysUntrusted`.

    A generation that is held already is passed over, one that does not follow from what is held ends the way.
    """
    for link in chain:
        raw = link.document.encode()
        try:
            document = KeysDocument.model_validate_json(raw)
        except ValidationError as error:
            raise KeysUntrusted("a generation of the hub's keys does not read") from error
        if document.generation <= identity.keys:
            continue
        if document.hub_id != identity.hub_id:
            raise KeysUntrusted(f"the keys are those of the hub {document.hub_id}, not of {identity.hub_id}")
        try:
            verify(raw, link.signature, keys=identity.signing_keys)
        except SignatureInvalid as error:
            raise KeysUntrusted(f"generation {document.generation} of the hub's keys: {error}") from error
        newer = replace(
            identity,
            ca=document.ca,
            signing_keys=dict(document.signing_keys),
            keys=document.generation,
        )
        try:
            client_context(newer)
        except ssl.SSLError as error:
            raise KeysUntrusted(f"generation {document.generation} holds a CA that does not load") from error
        identity = newer
    return identity


async def learn(session: HubSession, identity: Identity) -> Identity:
    """Ask the hub for what came after the generation that is held. Raises `NoInformation`."""
    answer = await session.exchange("GET", f"{PATH}?after={identity.keys}", limit=_MAX_ANSWER)
    if answer.status != _OK:
        raise answer.refused("the hub's keys")
    try:
        chain = KeysAnswer.model_validate_json(answer.body).chain
    except ValidationError as error:
        raise HubUnreachable("the hub's keys: an answer that does not read") from error
    return follow(identity, chain)


async def learn_unproven(url: str, identity: Identity, *, user_agent: str) -> Identity:
    """The same over a connection whose certificate fits no CA that is known.

    Nothing is sent, no certificate either, and what comes counts by its signatures alone. Raises `NoInformation`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    session = HubSession(url, context, user_agent=user_agent)
    try:
        newer = await learn(session, identity)
    finally:
        await session.close()
    if newer.keys == identity.keys:
        raise KeysUntrusted(
            "what answers at the hub's address shows a certificate of a CA that this agent does not know, and no "
            "signed keys that lead to it: a wrong address, a connection that someone intercepts, or another hub"
        )
    return newer


async def answers_without_certificate(url: str, identity: Identity, *, user_agent: str) -> bool:
    """Whether our hub, by a CA that is trusted here, answers whoever shows no certificate. Raises `NoInformation`."""
    session = HubSession(url, pinned_context(identity.ca), user_agent=user_agent)
    try:
        answer = await session.exchange("GET", f"{PATH}?after={identity.keys}", limit=_MAX_ANSWER)
    finally:
        await session.close()
    return answer.status == _OK
