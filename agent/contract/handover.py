"""Sealed outputs: values that one cluster's agent hands to another's through a hub that cannot read them.

The producer's agent seals a value to the key of the consumer's cluster, with who gives what to whom as associated
data. The hub relays the text within a Secret of the consumer's bundle; the consumer's agent opens it there, for the
app whose bundle it is and for no other.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from agent.contract.canonical import canonical_json, sha256_hex
from agent.contract.model import WireModel
from agent.contract.output import MAX_OUTPUTS, OutputName

PREFIX = "relayed:v1:"
MAX_HANDOVERS = 64
"""Of one app's sealed outputs, over all who take them."""

_App = Annotated[str, StringConstraints(max_length=507)]
_Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class HandoverRefused(ValueError):
    """It was sealed for another app, by another one, as another output or at another digest; or to another key."""


class Recipient(WireModel):
    """Who takes a sealed output of an app: in the Assignment of the producer's cluster."""

    app: _App
    """The producer."""
    output: OutputName
    consumer: _App
    key: Annotated[str, StringConstraints(max_length=64)]
    """base64 of the X25519 public key of the consumer's cluster."""


class Handover(WireModel):
    """One sealed value, as the producer's agent reports it."""

    consumer: _App
    key: _Hex32
    """`key_id` of the key that it is sealed to."""
    digest: _Hex64
    """Of the producer, when the value was read."""
    text: Annotated[str, StringConstraints(max_length=2048)]


class SealedReport(WireModel):
    """What an agent says of one sealed output, of an app that is Healthy at the digest that the report names."""

    name: OutputName
    mark: _Hex32 | None = None
    """Changes with the value, and tells nothing of it; none where there is a problem."""
    handovers: list[Handover] = Field(default_factory=list, max_length=MAX_HANDOVERS)
    problem: Annotated[str, StringConstraints(max_length=512)] = ""


SealedReports = Annotated[list[SealedReport], Field(max_length=MAX_OUTPUTS)]


def key_id(public: bytes) -> str:
    """What names a sealing key."""
    return sha256_hex(public)[:32]


def mark_key(private_key: bytes) -> bytes:
    """What marks are made with, of a sealing key: kept when that is replaced, or every value would look new."""
    return hmac.new(private_key, b"axletree/output-mark/v1", "sha256").digest()


def mark_of(text: str, *, producer: str, name: str, key: bytes) -> str:
    """What stands for a value outside: nobody without the producer's own `mark_key` can try guesses."""
    return hmac.new(key, canonical_json([producer, name, text]), "sha256").hexdigest()[:32]


def hand_over(text: str, recipient: Recipient, *, digest: str) -> Handover:
    """Seal a value for one app on one cluster. Raises ValueError for a key that is none."""
    from agent.contract.sealing import seal  # noqa: PLC0415 - 10 MB that only sealing needs

    public = base64.b64decode(recipient.key, validate=True)
    bound = _bound(recipient.app, recipient.consumer, recipient.output, digest)
    sealed = seal(text.encode(), recipient=public, bound=bound)
    return Handover(consumer=recipient.consumer, key=key_id(public), digest=digest, text=sealed)


def relayed(producer: str, name: str, *, digest: str, text: str) -> str:
    """As it stands in the Secret of a stored bundle: whose it is for is not in it, since its reader knows that."""
    content = canonical_json({"producer": producer, "name": name, "digest": digest, "text": text})
    return PREFIX + base64.urlsafe_b64encode(content).decode()


def open_relayed(value: str, *, consumer: str, private_key: bytes) -> bytes:
    """The plain value, for the app whose bundle it stood in. Raises `HandoverRefused`."""
    from agent.contract.sealing import open_sealed  # noqa: PLC0415 - as above

    try:
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(value.removeprefix(PREFIX)))
        bound = _bound(str(found["producer"]), consumer, str(found["name"]), str(found["digest"]))
        return open_sealed(found["text"], private_key=private_key, bound=bound)
    except (ValueError, KeyError, TypeError) as error:
        raise HandoverRefused(f"a sealed input does not open for {consumer}") from error


def _bound(producer: str, consumer: str, name: str, digest: str) -> bytes:
    return canonical_json(["axletree/handover/v1", producer, consumer, name, digest])
