"""Addresses of charts and artifacts. Pure.

A chart's is that of a Helm repository or a path in an OCI registry, `#`, and the chart's name; an artifact's is its
whole path in a registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.sources.errors import RepositoryRefused
from hub.sources.urls import RepoUrl, redacted

OCI = "oci://"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_PATH = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*", re.ASCII)
_LOCAL = {"localhost", "127.0.0.1", "[::1]"}


@dataclass(frozen=True, slots=True)
class ChartAddress:
    """`base` is the http address, without a slash at its end; of a registry, that of its host."""

    base: str
    chart: str
    """Empty for an artifact."""
    repository: str = ""
    """The path within an OCI registry, the chart's name included; empty for a Helm repository."""

    @classmethod
    def parse(cls, text: str) -> ChartAddress:
        """Raises `RepositoryRefused`."""
        base, mark, chart = text.partition("#")
        if not mark and base.startswith(OCI):
            return cls._in_registry(base, "", text)
        if not mark or not _NAME.fullmatch(chart):
            raise RepositoryRefused(f"{redacted(base)}: {chart[:100]!a} is not the name of a chart")
        if not base.startswith(OCI):
            # whatever its path is, its index must have an address
            url = str(RepoUrl.parse(f"{base.rstrip('/')}/index.yaml"))
            if not url.startswith(("http://", "https://")):
                raise RepositoryRefused(f"{redacted(base)}: a Helm repository has an http or oci address")
            return cls(url.removesuffix("/index.yaml"), chart)
        return cls._in_registry(f"{base.rstrip('/')}/{chart}", chart, base)

    @classmethod
    def _in_registry(cls, whole: str, chart: str, base: str) -> ChartAddress:
        url = str(RepoUrl.parse(f"https://{whole.removeprefix(OCI).rstrip('/')}"))
        host, _, path = url.removeprefix("https://").partition("/")
        if not _PATH.fullmatch(path):
            raise RepositoryRefused(f"{redacted(base)}: {path[:100]!a} is no repository of a registry")
        scheme = "http" if host.rpartition(":")[0] in _LOCAL or host in _LOCAL else "https"
        return cls(f"{scheme}://{host}", chart, path)

    def __str__(self) -> str:
        if self.repository:
            return f"{OCI}{self.base.partition('://')[2]}/{self.repository}"
        return f"{self.base}#{self.chart}"


def is_chart(address: str) -> bool:
    """Whether it is a chart's address or a registry's, and not a Git repository's."""
    return "#" in address or address.startswith(OCI)
