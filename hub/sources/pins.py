"""Revisions of charts and artifacts: a version, a range, a tag, and a digest that pins what it must be. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.sources.semver import is_range
from hub.sources.urls import checked_revision

_PINNED = re.compile(r"(?:(?P<name>[^@]+)@)?sha256:(?P<digest>[0-9a-f]{64})")
_NAMED = re.compile(r"(?P<address>.*?)@(?P<revision>(?:[^@]*@)?sha256:[0-9a-f]{64}|[^@]*)", re.DOTALL)
LATEST = frozenset({"", "HEAD", "*"})


@dataclass(frozen=True, slots=True)
class Pin:
    """`name` may be a version, a range or a tag; `digest` is hex, empty where nothing is pinned."""

    name: str
    digest: str = ""

    @classmethod
    def parse(cls, revision: str) -> Pin:
        """`1.2.3`, `^1.2`, `1.2.3@sha256:...`, `sha256:...`. Raises `RevisionRefused`."""
        match = _PINNED.fullmatch(revision)
        name = revision if match is None else (match["name"] or "")
        if name not in LATEST and not is_range(name):
            checked_revision(name)
        return cls(name, match["digest"] if match is not None else "")


def split_name(name: str) -> tuple[str, str]:
    """(address, revision) of `address@revision`, as plans name what they read: either part may have an `@`."""
    match = _NAMED.fullmatch(name)
    return (match["address"], match["revision"]) if match is not None else (name, "")
