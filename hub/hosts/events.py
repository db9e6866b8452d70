"""What a Git host tells by a webhook, in one form for all hosts. Pure.

An event only says where to look again: nothing of it but names is used, and what is there is asked of the repository
itself. So the worst that a forged one could do is a question that would have been asked a little later anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

Headers: TypeAlias = Mapping[str, str]
Read: TypeAlias = Callable[[str, Any], "Event | None"]
"""From the event's name (of a header, empty where there is none) and its body; None: nothing that concerns us."""

MAX_REFS = 1000
MAX_TOLD = 32
MAX_REF = 255
ANNOTATION = "axletree.dev/webhooks"
"""On the Leases by which gateways tell a controller elsewhere: a list of events, each with an id."""
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:@]+):(?P<path>(?!//).+)", re.DOTALL)
_URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^@/]*@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:]+)(?::\d+)?/(?P<path>.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Event:
    """`repositories` are addresses by `identity`; `names` how generators name them, in lower case."""

    host: str
    repositories: frozenset[str]
    names: frozenset[str] = field(default_factory=frozenset)
    refs: frozenset[str] = field(default_factory=frozenset)
    """Branches and tags that moved, in full (`refs/heads/main`); empty: any may have."""
    pushed: bool = True
    """Whether anything in Git moved; else it is about requests to merge, or about the repository as such."""

    def to_json(self) -> dict[str, Any]:
        """Bounded, for where events wait to be read: of very many refs it says that any may have moved."""
        refs = sorted(self.refs) if len(self.refs) <= MAX_TOLD else []
        return {
            "host": self.host,
            "repositories": sorted(self.repositories)[:MAX_TOLD],
            "names": sorted(self.names)[:MAX_TOLD],
            "refs": refs if all(len(ref) <= MAX_REF for ref in refs) else [],
            "pushed": self.pushed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """KeyError, TypeError where it is none."""
        return cls(
            str(data["host"]),
            frozenset(map(str, data["repositories"])),
            frozenset(map(str, data["names"])),
            frozenset(map(str, data["refs"])),
            pushed=bool(data["pushed"]),
        )


def identity(url: str) -> str:
    """What all spellings of a repository's address have in common: host and path, without user, port and `.git`.

    Hosts send one spelling, people write another. Two repositories with one identity cost a fetch.
    """
    match = _URL.fullmatch(url) or _SCP.fullmatch(url)
    if match is None:
        return ""
    path = unquote(match["path"]).strip("/").lower().removesuffix(".git").rstrip("/")
    host = match["host"].lower()
    if host == "ssh.dev.azure.com" and path.startswith("v3/"):
        parts = path.split("/")
        if len(parts) == 4:  # noqa: PLR2004 - v3, organization, project, repository
            return f"dev.azure.com/{parts[1]}/{parts[2]}/_git/{parts[3]}"
    return f"{host}/{path}"


def text(data: Any, *keys: str) -> str:
    """The text at that place of a body, or nothing: whoever signed it may still send anything."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, str) else ""


def entries(data: Any, *keys: str) -> list[Any]:
    """The list at that place of a body, bounded, or an empty one."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data[:MAX_REFS] if isinstance(data, list) else []


def addresses(*urls: str) -> frozenset[str]:
    return frozenset(found for url in urls if (found := identity(url)))


def names(*paths: str) -> frozenset[str]:
    return frozenset(path.strip("/").lower() for path in paths if path.strip("/"))
