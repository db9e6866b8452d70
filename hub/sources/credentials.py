"""Which credentials go to which repository. Pure: Secrets in, a lookup out.

A Secret labelled `axletree.dev/credentials: git` holds `url` and one of: `password` (a token, too) with a
`username`; `bearerToken`; `sshPrivateKey` with `knownHosts`. Flux' names for these are read as well. It covers the
addresses below its own: same scheme, host and port, and whole path segments; the longest prefix wins.

Whom it serves is said by where it lies: in the hub's own namespace, every Project, or those that `project` names (as
Argo CD calls it; a Project's name is its namespace); in another one, the Project there alone. So nobody can take the
place of another Project's credentials, or use them.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.contract.names import HUB_NAMESPACE
from hub.sources.errors import RepositoryRefused
from hub.sources.urls import RepoUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.contract.manifest import Manifest

LABEL = "axletree.dev/credentials"
VALUE = "git"
DEFAULT_USERNAME = "git"
"""Hosts that take a token as the password ignore the name, but refuse an empty one."""
REMEMBERED = 10_000
_SHARED = {"", HUB_NAMESPACE}
_SSH_KEY, _KNOWN_HOSTS = ("sshPrivateKey", "identity"), ("knownHosts", "known_hosts")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves to a host who we are. No part is ever printed: a token is often given as the name.

    With `bearer` that token is sent alone; `private_key` and `known_hosts` are for ssh addresses, as the texts of
    such files. `owner` names who may use what is fetched with them: one Project, by its namespace, or whoever a Secret
    of the hub's own namespace serves.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    known_hosts: str = field(default="", repr=False)
    owner: str = ""

    def header(self) -> str:
        """The value of an `Authorization` header."""
        if self.bearer:
            return f"Bearer {self.bearer}"
        plain = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(plain).decode()

    def scrub(self, text: str) -> str:
        """The text without any part, in any form that we send."""
        encoded = self.header().partition(" ")[2] if self.password or self.bearer else ""
        name = self.username if self.username != DEFAULT_USERNAME else ""
        for secret in (encoded, self.password, name, *self.private_key.split("\n")):
            if secret:
                text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class _Entry:
    origin: tuple[str, str, int]
    segments: tuple[str, ...]
    name: str
    credentials: Credentials
    projects: frozenset[str] | None
    """Namespaces whose Projects it serves; None: all."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What one Project may use, the closest first."""

    entries: tuple[_Entry, ...] = ()
    _known: dict[str, Credentials | None] = field(default_factory=dict, repr=False, compare=False)
    """By address: each is asked for again with every child that is planned."""

    def match(self, repo_url: str) -> Credentials | None:
        """The closest credentials for the address; None where nothing covers it or it is refused anyway."""
        if repo_url not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[repo_url] = self._match(repo_url)
        return self._known[repo_url]

    def _match(self, repo_url: str) -> Credentials | None:
        try:
            url = RepoUrl.parse(repo_url)
        except RepositoryRefused:
            return None
        origin, segments = (url.scheme, url.host, url.port), url.segments
        for entry in self.entries:
            if entry.origin == origin and segments[: len(entry.segments)] == entry.segments:
                return entry.credentials
        return None

    @property
    def particular(self) -> bool:
        """Whether any of it, keys for ssh aside, is not for every Project."""
        return any(one.projects is not None and not one.credentials.private_key for one in self.entries)


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
            namespace, name = str(meta.get("namespace") or ""), meta.get("name", "")
            try:
                entries.append(_entry(namespace, f"{namespace}/{name}", secret.get("data") or {}))
            except (ValueError, RepositoryRefused) as error:
                # the decoder's own messages quote the bytes, which are secret
                why = (
                    "url refused" if isinstance(error, RepositoryRefused) else "incomplete or not base64 text"
                )
                problems.append(f"Secret {namespace}/{name}: {why}")
        # of two for one prefix, that which is for fewer; then by name, so that it is always the same one
        entries.sort(key=lambda one: (-len(one.segments), one.projects is None, one.name))
        return cls(tuple(entries), tuple(problems))

    def granted(self, namespace: str) -> Granted:
        """What is for the Project of this namespace; for none ("") what is for all."""
        return Granted(
            tuple(one for one in self.entries if one.projects is None or namespace in one.projects)
        )


def _entry(namespace: str, name: str, data: Manifest) -> _Entry:
    """One Secret's entry. ValueError where a part is missing or undecodable."""
    text = _text(data, "url").rstrip("/")
    whole_host = text.count("/") == len("//") and "://" in text
    url = RepoUrl.parse(f"{text}/any" if whole_host else text)
    # not each Secret of a namespace: one that is made anew under other names would leave a mirror for each
    owner = name if namespace in _SHARED else namespace
    credentials = dataclasses.replace(_ssh(data) if url.scheme == "ssh" else _http(data), owner=owner)
    return _Entry(
        (url.scheme, url.host, url.port),
        () if whole_host else url.segments,
        name,
        credentials,
        _projects(namespace, data),
    )


def _projects(namespace: str, data: Manifest) -> frozenset[str] | None:
    """Whom a Secret serves; in a file it may have no namespace, and is then whoever's who gave the file.

    Names nobody rather than all where `project` is there and empty: that is how a template fails.
    """
    named: frozenset[str] | None = None
    if "project" in data:
        named = frozenset(one.strip() for one in _text(data, "project").split(","))
        if not all(_NAMESPACE.fullmatch(one) for one in named):
            raise ValueError("project")
    if namespace in _SHARED:
        return named
    return frozenset({namespace}) if named is None else named & {namespace}


def _http(data: Manifest) -> Credentials:
    if data.get("bearerToken"):
        bearer = _text(data, "bearerToken")
        if not _TOKEN.fullmatch(bearer):  # it becomes a line of a request
            raise ValueError
        return Credentials(bearer=bearer)
    password = _text(data, "password")
    username = _text(data, "username") if data.get("username") else DEFAULT_USERNAME
    if not password or ":" in username:
        raise ValueError
    return Credentials(username, password)


def _ssh(data: Manifest) -> Credentials:
    """A key, and the hosts' keys with it: without them there is nobody whom one could safely ask."""
    key = _text(data, next((name for name in _SSH_KEY if name in data), _SSH_KEY[0]))
    hosts = _text(data, next((name for name in _KNOWN_HOSTS if name in data), _KNOWN_HOSTS[0]))
    if not key or not hosts:
        raise ValueError
    return Credentials(private_key=f"{key}\n", known_hosts=f"{hosts}\n")


def _text(data: Manifest, key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise ValueError(key)  # noqa: TRY004 - one kind of failure for the caller: an unusable Secret
    try:
        return base64.b64decode(value, validate=True).decode().strip()
    except binascii.Error as error:
        raise ValueError(key) from error
