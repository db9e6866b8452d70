"""Allow-lists for what people write into a source: addresses, revisions, paths. Pure.

An allow-list and not an escape: what reaches Git's command line or a credential's prefix is spelled in one
way only. Dot segments and their encoded forms are refused, because curl folds them *after* a prefix was
compared: `https://host/mine/../theirs` would be read with the credentials, and under the rules, of `mine`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.sources.errors import PathRefused, RepositoryRefused, RevisionRefused
from hub.sources.reach import is_never_asked

MAX_URL = 1024
MAX_PATH = 4096
DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22}

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_URL = re.compile(rf"(?i:(https?|ssh))://(?:([^/@]*)@)?({_HOST})(?::([0-9]{{1,5}}))?/(.*)", re.ASCII)
_SCP = re.compile(rf"([A-Za-z0-9_][A-Za-z0-9._-]*)@({_HOST}):(?!//)(.*)", re.ASCII)
_SEGMENT = re.compile(r"(?!-)(?:[A-Za-z0-9._~+@=,!:-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_ENCODED_TRAP = re.compile(r"%(?:2e|2f|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_SSH_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)
_REVISION = re.compile(r"(?![-/.])[A-Za-z0-9._/+@#=,!-]{1,255}(?<![/.])", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class RepoUrl:
    """A repository's address in its one spelling.

    `user` is only for SSH; HTTP credentials come from Secrets.
    """

    scheme: str
    host: str
    port: int
    path: str
    user: str = ""

    @classmethod
    def parse(cls, text: str) -> RepoUrl:
        """The address, or `RepositoryRefused`. Takes http, https and ssh URLs and `user@host:path`."""
        if len(text) > MAX_URL:
            raise RepositoryRefused("a repository's address is too long")
        scp = _SCP.fullmatch(text)
        if scp is not None:
            user, host, path = scp.groups()
            _check_host(host, text)
            return cls("ssh", host.lower(), 22, _checked(path, text), user)
        match = _URL.fullmatch(text)
        if match is None:
            raise RepositoryRefused(f"{redacted(text)}: not an http, https or ssh address of a repository")
        scheme, user, host, port, path = match.groups()
        scheme = scheme.lower()
        _check_host(host, text)
        if user is not None and (scheme != "ssh" or not _SSH_USER.fullmatch(user)):
            raise RepositoryRefused(
                f"{redacted(text)}: credentials in an address are refused; put them into a Secret"
            )
        number = int(port) if port else DEFAULT_PORTS[scheme]
        if not 0 < number < 2**16:
            raise RepositoryRefused(f"{redacted(text)}: no such port")
        return cls(scheme, host.lower(), number, _checked(path, text), user or "")

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's parts: compared whole, so that the prefix `/shop` does not cover `/shop-old`."""
        return tuple(self.path.split("/"))

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{user}{self.host}{port}/{self.path}"


def _check_host(host: str, text: str) -> None:
    if is_never_asked(host):
        raise RepositoryRefused(f"{redacted(text)}: no source is at a link-local or metadata address")


def _checked(path: str, text: str) -> str:
    path = path.removesuffix("/")
    for part in path.split("/"):
        if not _SEGMENT.fullmatch(part) or part in {".", ".."} or _ENCODED_TRAP.search(part):
            raise RepositoryRefused(f"{redacted(text)}: its path is not one of a repository")
    return path


def redacted(text: str) -> str:
    """An address fit to print: bounded, no user part, no query (tokens stand there), plain ASCII."""
    plain = re.sub(
        r"^([A-Za-z][A-Za-z0-9+.-]*:/+)?.*@", r"\1***@", re.split(r"[?#]", text)[0], flags=re.DOTALL
    )
    return ascii(plain[:200])


def checked_revision(revision: str) -> str:
    """A branch, tag, full commit or `HEAD` (also for ""), or `RevisionRefused`."""
    if revision in {"", "HEAD"}:
        return "HEAD"
    bad = not _REVISION.fullmatch(revision) or any(mark in revision for mark in ("..", "//", "/.", "@{"))
    if bad or revision == "@" or revision.endswith(".lock"):
        raise RevisionRefused(f"{revision[:100]!a} is not the name of a branch, tag or commit")
    return revision


def is_commit(revision: str) -> bool:
    """Whether it is a full commit id. Short ones are not taken: what they mean changes with time."""
    return _SHA.fullmatch(revision) is not None


def checked_path(path: str) -> str:
    """A path inside a repository, "" for its root, without dots and doubled slashes; or `PathRefused`."""
    if len(path) > MAX_PATH or path.startswith("/") or _CONTROL.search(path):
        raise PathRefused(f"{path[:200]!a}: not a relative path")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise PathRefused(f"{path[:200]!a}: a path may not climb")
    return "/".join(parts)
