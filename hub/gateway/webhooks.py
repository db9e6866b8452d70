"""Webhooks of Git hosts: whether one is genuine, and what it says. Pure.

The signature is over the bytes as they came, and nothing of them is parsed before it holds (S12). Each host's own
documents say how it signs and what it sends:

- https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
- https://docs.gitlab.com/user/project/integrations/webhooks/
- https://docs.gitea.com/usage/webhooks
- https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
- https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html
- https://learn.microsoft.com/en-us/azure/devops/service-hooks/services/webhooks
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from agent.contract.names import LABEL_CREDENTIALS
from hub.gateway.errors import WebhookRefused, WebhookUnreadable
from hub.hosts import payloads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.contract.manifest import Manifest
    from hub.hosts.events import Event, Headers, Read

LABELLED = "webhook"
"""The value of the label `axletree.dev/credentials` of Secrets with `host` and `secret`."""
MIN_SECRET = 16
"""Characters: a signature by a word that one can guess says nothing."""
MAX_SECRETS = 64

Genuine: TypeAlias = Callable[["Headers", bytes, str], bool]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of webhooks, and by which Secrets they prove themselves."""

    secrets: Callable[[], Iterable[Manifest]]
    take: Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One host: how it proves itself, the header with the event's name, and how its bodies read."""

    genuine: Genuine
    event_header: str
    read: Read


def _signed(header: str, prefix: str = "sha256=") -> Genuine:
    """By HMAC-SHA256 over the body, in hex."""

    def genuine(headers: Headers, body: bytes, secret: str) -> bool:
        given = headers.get(header, "")
        wanted = prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())

    return genuine


def _told(headers: Headers, body: bytes, secret: str) -> bool:  # noqa: ARG001 - GitLab signs nothing
    """By the secret itself."""
    given = headers.get("x-gitlab-token", "")
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _basic(headers: Headers, body: bytes, secret: str) -> bool:  # noqa: ARG001 - Azure DevOps signs nothing
    """By the secret as a password; the user's name may be any."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    try:
        plain = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        plain = b""
    given = plain.partition(b":")[2]
    return hmac.compare_digest(given, secret.encode()) and scheme.lower() == "basic"


HOSTS: Mapping[str, Kind] = {
    "github": Kind(_signed("x-hub-signature-256"), "x-github-event", payloads.github),
    "gitlab": Kind(_told, "x-gitlab-event", payloads.gitlab),
    "gitea": Kind(_signed("x-gitea-signature", ""), "x-gitea-event", payloads.gitea),
    "bitbucket": Kind(_signed("x-hub-signature"), "x-event-key", payloads.bitbucket),
    "bitbucket-server": Kind(_signed("x-hub-signature"), "x-event-key", payloads.bitbucket_server),
    "azure-devops": Kind(_basic, "", payloads.azure_devops),
}


def received(host: str, headers: Headers, body: bytes, *, secrets: Iterable[Manifest]) -> Event | None:
    """What a genuine call says; None where it is nothing that concerns us. `headers` by names in lower case.

    Raises `WebhookRefused` for every call that no Secret's holder sent, whatever else is wrong with it: a stranger
    learns nothing, not even which hosts are set up. Raises `WebhookUnreadable` for a genuine one that does not read.
    """
    kind = HOSTS.get(host)
    if kind is None or not any(kind.genuine(headers, body, secret) for secret in _secrets(host, secrets)):
        raise WebhookRefused("no webhook that is set up here sends this")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebhookUnreadable("its body is not JSON; set the webhook's content type to that") from error
    return kind.read(headers.get(kind.event_header, ""), content)


def _secrets(host: str, objects: Iterable[Manifest]) -> list[str]:
    """The secrets of this host's webhooks. One that is too short counts for nothing."""
    found: list[str] = []
    for obj in objects:
        labels = (obj.get("metadata") or {}).get("labels") or {}
        data: dict[str, Any] = obj.get("data") or {}
        if labels.get(LABEL_CREDENTIALS) == LABELLED and _plain(data, "host") == host:
            secret = _plain(data, "secret")
            found += [secret] if len(secret) >= MIN_SECRET else []
    return found[:MAX_SECRETS]


def _plain(data: Mapping[str, Any], key: str) -> str:
    try:
        return base64.b64decode(str(data.get(key, "")), validate=True).decode().strip()
    except (binascii.Error, ValueError):
        return ""
