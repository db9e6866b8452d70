"""How many requests the API servers answered, by verb and resource: their CPU is most of a fleet's."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.kube.config import KubeConfig

_LINE = re.compile(
    r"^(?P<name>apiserver_request_total|apiserver_watch_events_total){(?P<labels>.*)} (?P<value>\S+)$"
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_SILENT = frozenset({"WATCH", "CONNECT"})
"""Counted when they end, which says nothing about now."""


async def count(servers: Iterable[KubeConfig]) -> Counter[str]:
    """What was answered so far, by all of them together, e.g. `PATCH applications/status`."""
    found: Counter[str] = Counter()
    for server in servers:
        connector = aiohttp.TCPConnector(ssl=server.ssl or True)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session,
            session.get(f"{server.server}/metrics") as response,
        ):
            response.raise_for_status()
            for line in (await response.text()).splitlines():
                _add(found, line)
    return found


def _add(found: Counter[str], line: str) -> None:
    match = _LINE.match(line)
    if match is None:
        return
    labels = dict(_LABEL.findall(match["labels"]))
    number = int(float(match["value"]))
    if match["name"] == "apiserver_watch_events_total":
        found[f"event to a watcher of {labels.get('resource') or labels.get('kind', '')}"] += number
        return
    resource = "/".join(filter(None, (labels.get("resource"), labels.get("subresource"))))
    code = labels.get("code", "")
    if labels.get("verb") not in _SILENT and resource:
        failed = f" -> {code}" if code >= "400" else ""
        found[f"{labels.get('verb')} {resource}{failed}"] += number
