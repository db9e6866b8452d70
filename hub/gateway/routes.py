"""Every route with its policy. Nothing is served that is not in this table; a test walks the router by it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from agent.contract.wire import LONG_POLL_SECONDS, MAX_REPORT_BYTES


class Access(Enum):
    """Who may call."""

    PUBLIC = "Public"
    """Anyone: what it tells is no secret."""
    TOKEN = "Token"  # noqa: S105 - a word of the policy
    """Anyone who gets that far; body or path carry a token that the handler checks before anything else."""
    PROVEN = "Proven"
    """Whoever holds a certificate of our CA, in force or not: the handler decides what follows from it."""
    CERTIFICATE = "Certificate"
    """An accepted cluster's certificate in force, and only for that cluster's own things."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `timeout` in seconds covers reading the body, too: one byte a second ends there."""

    name: str
    method: str
    path: str
    access: Access
    timeout: float
    concurrency: int
    """How many at once; beyond it callers are told to come back."""
    max_body: int = 0
    """Bytes, after decompression; 0: the route takes none."""


_SMALL = 64 * 1024
_LARGE = 4 * 1024 * 1024
"""An object of an API server, twice (the old and the new one), with room; a push of a thousand commits."""

ROUTES: tuple[Route, ...] = (
    Route("healthz", "GET", "/healthz", Access.PUBLIC, timeout=5, concurrency=64),
    Route("ca", "GET", "/agent/v1/ca", Access.PUBLIC, timeout=5, concurrency=256),
    Route("keys", "GET", "/agent/v1/keys", Access.PUBLIC, timeout=5, concurrency=256),
    Route("comeback", "POST", "/agent/v1/return", Access.PROVEN, timeout=20, concurrency=64, max_body=_SMALL),
    Route("join", "POST", "/agent/v1/join", Access.TOKEN, timeout=20, concurrency=64, max_body=_SMALL),
    Route(
        "assignment",
        "GET",
        "/agent/v1/assignment",
        Access.CERTIFICATE,
        timeout=LONG_POLL_SECONDS + 15,
        concurrency=50_000,
    ),
    Route("bundle", "GET", "/agent/v1/bundles/{blob}", Access.CERTIFICATE, timeout=60, concurrency=512),
    Route(
        "reports",
        "POST",
        "/agent/v1/reports",
        Access.CERTIFICATE,
        timeout=30,
        concurrency=1024,
        max_body=MAX_REPORT_BYTES,
    ),
    Route(
        "admission",
        "POST",
        "/admission/v1/{key}",
        Access.TOKEN,
        timeout=5,
        concurrency=64,
        max_body=_LARGE,
    ),
    Route(
        "webhook",
        "POST",
        "/webhooks/v1/{host}",
        Access.TOKEN,
        timeout=10,
        concurrency=16,
        max_body=_LARGE,
    ),
    Route(
        "renew", "POST", "/agent/v1/renew", Access.CERTIFICATE, timeout=20, concurrency=64, max_body=_SMALL
    ),
)
