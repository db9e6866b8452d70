"""What one app is on one cluster: manifests and how to apply them, with one identity.

Two hashes, for two questions. `digest` answers "is this what already runs?": over the plain content, with secret
values as HMAC. `blob` answers "did I receive what was stored?": over the stored bytes, with secret values sealed
to the cluster's key, so that the hub's store never holds them in the clear.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from agent.contract.canonical import canonical_json, sha256_hex
from agent.contract.errors import TerminalError
from agent.contract.handover import PREFIX as RELAYED
from agent.contract.handover import HandoverRefused, open_relayed
from agent.contract.health import DriftMode
from agent.contract.healthrule import HealthRules
from agent.contract.manifest import Manifest
from agent.contract.model import WireModel
from agent.contract.options import IgnoreDifference, SyncOption
from agent.contract.output import OutputRules, SealedRules
from agent.contract.sealing import open_sealed, seal
from agent.contract.secrets import map_secret, mask

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEVEL = 6
MAX_UNPACKED = 64 * 1024 * 1024
"""An upper bound in bytes on a bundle once unpacked: a compressed bomb is refused, not expanded."""


class BundleTooLarge(TerminalError):
    reason = "BundleTooLarge"


class BundleCorrupt(TerminalError):
    reason = "BundleCorrupt"


class SealedInputRefused(BundleCorrupt):
    """A sealed input that is not for this app and cluster, or not what it says it is."""

    reason = "SealedInputRefused"


class DriftPolicy(WireModel):
    """What to do where live differs from the bundle, and after how many seconds to raise an alert."""

    mode: DriftMode = DriftMode.CORRECT
    alert_after: int = 600


class ApplyPolicy(WireModel):
    """Everything beside the objects that changes what the agent does; part of the digest."""

    namespace: str = "default"
    """Where namespaced objects without a namespace go."""
    create_namespace: bool = False
    prune: bool = True
    allow_empty: bool = False
    """An empty bundle after a full one is Held unless this says that it is meant."""
    service_account: str | None = None
    """Impersonated for every write, in the agent's namespace; None only for trusted projects."""
    drift: DriftPolicy = Field(default_factory=DriftPolicy)
    retry_limit: int = 5
    options: list[SyncOption] | None = None
    """For all of its objects; one may ask for more by annotation."""
    ignore_differences: list[IgnoreDifference] | None = None
    health_rules: HealthRules | None = None
    """Before the built-in ones: the Application's own, its Project's, the hub's."""
    outputs: OutputRules | None = None
    sealed_outputs: SealedRules | None = None
    """Apart from the others: an agent that does not know of sealing must not tell them in the clear."""


class Bundle(WireModel):
    """One child's rendered manifests with the policy they are applied under."""

    policy: ApplyPolicy
    objects: list[Manifest]
    hooks: list[Any] = Field(default_factory=list, exclude=True)
    """`agent.apply.hooks.Hook`, once an agent has taken them out of the objects; never on the wire."""


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle as the store keeps it: `data` is gzip over canonical JSON; `blob` its sha256."""

    digest: str
    blob: str
    data: bytes


def digest_of(bundle: Bundle, *, key: bytes) -> str:
    """The bundle's identity: hex sha256. `key` (32 bytes, the hub's) keeps secret values from being guessed."""
    objects = [map_secret(obj, lambda value: mask(value, key=key)) for obj in bundle.objects]
    return sha256_hex(canonical_json({"policy": bundle.policy.wire(), "objects": objects}))


def encode(bundle: Bundle, *, digest_key: bytes, recipient: bytes) -> StoredBundle:
    """Seal, canonicalise and compress. `recipient` is the cluster's X25519 public key, 32 raw bytes."""
    masks: list[str] = []

    def change(value: Any) -> str:
        masks.append(mask(value, key=digest_key))
        return seal(canonical_json(value), recipient=recipient)

    objects = [map_secret(obj, change) for obj in bundle.objects]
    return pack(Bundle(policy=bundle.policy, objects=objects), masks=masks)


def pack(bundle: Bundle, *, masks: Sequence[str]) -> StoredBundle:
    """Canonicalise and compress a bundle whose secret values are sealed already.

    `masks` stand for these values in the digest, in their order; without any, digest and data are of one text.
    """
    content: dict[str, Any] = {"policy": bundle.policy.wire(), "objects": bundle.objects}
    text = canonical_json(content)
    digest = sha256_hex(text)
    if masks:
        rest = iter(masks)
        content["objects"] = [map_secret(obj, lambda _: next(rest, "")) for obj in bundle.objects]
        digest = sha256_hex(canonical_json(content))
    data = gzip.compress(text, compresslevel=_LEVEL, mtime=0)
    return StoredBundle(digest=digest, blob=sha256_hex(data), data=data)


def decode(
    data: bytes, *, blob: str, private_key: bytes, app: str = "", former: Sequence[bytes] = ()
) -> Bundle:
    """The bundle in the clear, after its hash was verified as received.

    `former` are keys of before: after a rotation the hub's own values may be sealed to the present key, and another
    app's, which is away, to the one before it.
    `app` is whose it is: what other apps sealed for it opens for it alone. Raises `BundleCorrupt` where bytes and
    hash differ or nothing can be read, `SealedInputRefused`, `BundleTooLarge` past the bound.
    """
    if sha256_hex(data) != blob:
        raise BundleCorrupt(f"bundle {blob[:12]}: its bytes do not have that hash")
    try:
        content = json.loads(_gunzip(data))
        content["objects"] = [
            map_secret(obj, lambda value: _opened(value, keys=(private_key, *former), app=app))
            for obj in content["objects"]
        ]
        return Bundle.model_validate(content)
    except HandoverRefused as error:
        raise SealedInputRefused(f"bundle {blob[:12]}: {error}") from error
    except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
        raise BundleCorrupt(f"bundle {blob[:12]}: {type(error).__name__}") from error


def _opened(value: Any, *, keys: Sequence[bytes], app: str) -> Any:
    """One value of a Secret, by the first key that opens it. Raises what the first one does."""
    try:
        return _opened_by(value, private_key=keys[0], app=app)
    except ValueError:
        for key in keys[1:]:
            with contextlib.suppress(ValueError):
                return _opened_by(value, private_key=key, app=app)
        raise


def _opened_by(value: Any, *, private_key: bytes, app: str) -> Any:
    """Sealed by the hub's worker, or by another app's agent."""
    if isinstance(value, str) and value.startswith(RELAYED):
        return base64.b64encode(open_relayed(value, consumer=app, private_key=private_key)).decode()
    return json.loads(open_sealed(value, private_key=private_key))


def _gunzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        plain = stream.read(MAX_UNPACKED + 1)
    if len(plain) > MAX_UNPACKED:
        raise BundleTooLarge(f"a bundle unpacks to more than {MAX_UNPACKED} bytes")
    return plain
