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


MAX_DEPTH = 64
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
        content = json.loads(data) if data[:1] == b"{" else _built(data)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ChartInvalid(f"{where}: index.yaml does not read: {str(error)[:200]}") from error
    if not isinstance(content, dict):
        raise ChartInvalid(f"{where}: index.yaml is no map")
    return content


def _built(data: bytes) -> Any:
    """YAML with every scalar as text: dates and numbers stay what they are written as, `version: 1.10` keeps its zero.

    Built from events, without recursion: PyYAML's own composer in C ends the process on a document that is nested deep
    enough. Aliases give the same object again, and nothing here walks deeper than an entry: no bomb unfolds.
    """
    top: list[Any] = []
    open_ones: list[tuple[Any, list[Any]]] = [(top, [])]
    anchors: dict[str, Any] = {}
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            open_ones.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        value = _value(event, anchors)
        _place(value, *open_ones[-1])
        if isinstance(event, yaml.CollectionStartEvent):
            if len(open_ones) > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
            open_ones.append((value, []))
    return top[0] if top else None


def _value(event: Any, anchors: dict[str, Any]) -> Any:
    """What an event begins, or stands for."""
    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in anchors:
            raise ValueError(f"there is no anchor {str(event.anchor)[:50]}")
        return anchors[str(event.anchor)]
    if isinstance(event, yaml.ScalarEvent):
        value: Any = event.value
    else:
        value = {} if isinstance(event, yaml.MappingStartEvent) else []
    if event.anchor:
        anchors[event.anchor] = value
    return value


def _place(value: Any, container: Any, key: list[Any]) -> None:
    """Into a list, or into a map: of two values there, the first is the key. Keys that are no text are left out."""
    if isinstance(container, list):
        container.append(value)
    elif not key:
        key.append(value)
    else:
        name = key.pop()
        if isinstance(name, str):
            container[name] = value


def _version(one: Any, where: str) -> ChartVersion | None:
    if not isinstance(one, dict) or not isinstance(one.get("version"), str):
        return None
    urls = one.get("urls")
    if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
        return None
    try:
        url = urljoin(f"{where}/", urls[0])
        parts = urlsplit(url)
        bad = not parts.hostname or parts.port == 0 or parts.username is not None
    except ValueError:  # an address that does not read
        return None
    allowed = {"https"} if where.startswith("https:") else {"http", "https"}
    if bad or parts.scheme not in allowed:
        return None
    digest = str(one.get("digest") or "").lower().removeprefix("sha256:")
    if digest and not _DIGEST.fullmatch(digest):
        return None
    return ChartVersion(one["version"], url, digest)
