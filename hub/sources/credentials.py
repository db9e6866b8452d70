"""Which credentials go to which repository. Pure: Secrets in, a lookup out.

A Secret labelled `axletree.dev/credentials: git` holds `url`, `username` and `password`. It covers the
addresses below its own: same scheme, host and port, and whole path segments; the longest prefix wins.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hub.sources.errors import RepositoryRefused
from hub.sources.urls import RepoUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest

LABEL = "axletree.dev/credentials"
VALUE = "git"
DEFAULT_USERNAME = "git"
"""Hosts that take a token as the password ignore the name, but refuse an empty one."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """HTTP basic credentials. Neither part is ever printed: a token is often given as the name."""

    username: str = field(repr=False)
    password: str = field(repr=False)

    def header(self) -> str:
        """The value of an `Authorization` header."""
        plain = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(plain).decode()

    def scrub(self, text: str) -> str:
        """The text without either part, in any form that we send."""
        encoded = self.header().removeprefix("Basic ")
        for secret in (encoded, self.password, self.username if self.username != DEFAULT_USERNAME else ""):
            if secret:
                text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class _Entry:
    origin: tuple[str, str, int]
    segments: tuple[str, ...]
    name: str
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class GitCredentials:
    """All known credentials; `problems` says which Secrets are unusable and why, without their content."""

    entries: tuple[_Entry, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, secrets: Iterable[Manifest]) -> GitCredentials:
        """Reads Secrets as the API server gives them. Others than labelled ones are left out."""
        entries: list[_Entry] = []
        problems: list[str] = []
        for secret in secrets:
            meta = secret.get("metadata") or {}
            if (meta.get("labels") or {}).get(LABEL) != VALUE:
                continue
            name = f"{meta.get('namespace', '')}/{meta.get('name', '')}"
            try:
                entries.append(_entry(name, secret.get("data") or {}))
            except (ValueError, RepositoryRefused) as error:
                # the decoder's own messages quote the bytes, which are secret
                why = (
                    "url refused" if isinstance(error, RepositoryRefused) else "incomplete or not base64 text"
                )
                problems.append(f"Secret {name}: {why}")
        entries.sort(key=lambda entry: (-len(entry.segments), entry.name))
        return cls(tuple(entries), tuple(problems))

    def match(self, repo_url: str) -> Credentials | None:
        """The closest credentials for the address; None where nothing covers it or it is refused anyway."""
        try:
            url = RepoUrl.parse(repo_url)
        except RepositoryRefused:
            return None
        origin, segments = (url.scheme, url.host, url.port), url.segments
        for entry in self.entries:
            if entry.origin == origin and segments[: len(entry.segments)] == entry.segments:
                return entry.credentials
        return None


def _entry(name: str, data: Manifest) -> _Entry:
    """One Secret's entry. ValueError where a part is missing or undecodable."""
    text = _text(data, "url").rstrip("/")
    password = _text(data, "password")
    username = _text(data, "username") if data.get("username") else DEFAULT_USERNAME
    if not password or ":" in username:
        raise ValueError
    if text.count("/") == len("//"):
        host = RepoUrl.parse(f"{text}/any")
        return _Entry((host.scheme, host.host, host.port), (), name, Credentials(username, password))
    url = RepoUrl.parse(text)
    return _Entry((url.scheme, url.host, url.port), url.segments, name, Credentials(username, password))


def _text(data: Manifest, key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise ValueError(key)  # noqa: TRY004 - one kind of failure for the caller: an unusable Secret
    try:
        return base64.b64decode(value, validate=True).decode().strip()
    except binascii.Error as error:
        raise ValueError(key) from error
