"""The versions of a chart in a Helm repository: its `index.yaml`. Pure.

https://helm.sh/docs/topics/chart_repository/
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import yaml

from hub.sources.errors import ChartInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping


_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ChartVersion:
    """One archive. `digest` is hex sha256, empty where the index says none."""

    version: str
    url: str
    digest: str = ""


def versions_of(data: bytes, *, where: str) -> dict[str, dict[str, ChartVersion]]:
    """Versions by chart and version. What cannot be read of single entries is left out, as Helm does.

    Raises `ChartInvalid` where it is no index.
    """
    content = _parsed(data, where)
    entries = content.get("entries")
    if not isinstance(entries, dict):
        raise ChartInvalid(f"{where}: index.yaml has no entries")
    found: dict[str, dict[str, ChartVersion]] = {}
    for name, listed in entries.items():
        versions = [_version(one, where) for one in listed] if isinstance(listed, list) else []
        found[str(name)] = {one.version: one for one in reversed(versions) if one is not None}
    return found


def _parsed(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        content = json.loads(data) if data[:1] == b"{" else yaml.load(data, Loader=_Loader)  # noqa: S506 - a safe one
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ChartInvalid(f"{where}: index.yaml does not read: {str(error)[:200]}") from error
    if not isinstance(content, dict):
        raise ChartInvalid(f"{where}: index.yaml is no map")
    return content


class _Loader(yaml.CSafeLoader):
    """Without types and merges: dates and numbers stay texts, as `version: 1.10` would lose its zero.

    Aliases give the same object again, and nothing here walks deeper than an entry: no bomb unfolds.
    """


_Loader.yaml_implicit_resolvers = {}


def _version(one: Any, where: str) -> ChartVersion | None:
    if not isinstance(one, dict) or not isinstance(one.get("version"), str):
        return None
    urls = one.get("urls")
    if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
        return None
    url = urljoin(f"{where}/", urls[0])
    parts = urlsplit(url)
    allowed = {"https"} if where.startswith("https:") else {"http", "https"}
    if parts.scheme not in allowed or not parts.hostname or parts.username is not None:
        return None
    digest = str(one.get("digest") or "").lower().removeprefix("sha256:")
    if digest and not _DIGEST.fullmatch(digest):
        return None
    return ChartVersion(one["version"], url, digest)
