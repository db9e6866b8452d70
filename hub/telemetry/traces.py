"""Traces from a plan to Healthy, for OpenTelemetry collectors: one a plan of a set, in it each release of a child.

Nothing is measured for them: what status says of when is told again, once it is over. So a hub that starts anew goes on
with the same trace: its id follows from the set and the plan. The SDK batches and sends in a thread of its own, with a
bound; a collector that is away costs spans, and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent.contract.errors import TerminalError
from hub.operator import views
from hub.operator.objects import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.contract.manifest import Manifest
    from hub.operator.caches import Caches

log = logging.getLogger(__name__)
_CLOSE_SECONDS = 5.0
_CLOSE_POLL = 0.02


class TracesUnavailable(TerminalError):
    """Traces are asked for, and the libraries of the extra `otel` are not there."""

    reason = "TracesUnavailable"


class Span(NamedTuple):
    """One stretch of time. Ids as OpenTelemetry has them, 128 and 64 bits; times in seconds of the epoch."""

    name: str
    trace: int
    id: int
    parent: int
    """0 for the root."""
    began: float
    ended: float
    attributes: dict[str, str | int]


class Export(Protocol):
    def send(self, span: Span) -> None: ...

    def close(self) -> None:
        """Send what is left. Blocks."""
        ...


class Tracer:
    """Give it to the caches of a term; `export` outlives terms."""

    def __init__(self, caches: Caches, export: Export, *, now: Callable[[], datetime]) -> None:
        self._caches = caches
        self._export = export
        self._now = now

    async def run(self) -> None:
        """Until cancelled. What was over before is not told again."""
        await self._caches.wait_synced()
        self._caches.applications.subscribe(self._application)
        self._caches.sets.subscribe(self._set)
        await asyncio.Event().wait()

    def _application(self, old: Manifest | None, new: Manifest | None) -> None:
        if old is not None and new is not None:
            owner = self._caches.sets.get(views.owner_of(new) or "")
            self._send(release_span(old, new, owner=owner, now=self._now()))

    def _set(self, old: Manifest | None, new: Manifest | None) -> None:
        if old is not None and new is not None:
            self._send(rollout_span(old, new, now=self._now()))

    def _send(self, span: Span | None) -> None:
        if span is not None:
            self._export.send(span)


def release_span(old: Manifest, new: Manifest, *, owner: Manifest | None, now: datetime) -> Span | None:
    """The release that this change says to be Healthy in full; None for any other change."""
    newest, before = _newest(new), _newest(old)
    known = before.get("release") == newest.get("release") and before.get("well")
    began = _seconds(newest.get("at"))
    if not newest.get("well") or known or began is None:
        return None
    sync = (new.get("status") or {}).get("sync") or {}
    release = int(newest.get("release") or 0)
    own = f"{new['metadata'].get('uid', '')}/{release}"
    trace = _trace(owner, int(sync.get("plan") or 0)) if owner is not None else _number(own, 16)
    return Span(
        name="release",
        trace=trace,
        id=_number(f"release/{own}", 8),
        parent=_root(trace) if owner is not None else 0,
        began=began,
        ended=max(began, now.timestamp()),
        attributes={
            "axletree.application": key_of(new),
            "axletree.applicationset": views.owner_of(new) or "",
            "axletree.cluster": str(new["spec"].get("cluster", "")),
            "axletree.release": release,
            "axletree.digest": str(newest.get("digest") or ""),
            "vcs.ref.head.revision": str(newest.get("revision") or ""),
        },
    )


def rollout_span(old: Manifest, new: Manifest, *, now: datetime) -> Span | None:
    """The plan of a set that this change says to be Healthy everywhere; None for any other change."""
    plan = (new.get("status") or {}).get("plan") or {}
    before = (old.get("status") or {}).get("plan") or {}
    same = plan.get("id") == before.get("id")
    began = _seconds(plan.get("at"))
    if not _ready(new) or (same and _ready(old)) or began is None:
        return None
    trace = _trace(new, int(plan.get("id") or 0))
    revisions = plan.get("revisions") or {}
    attributes: dict[str, str | int] = {
        "axletree.applicationset": key_of(new),
        "axletree.plan": int(plan["id"]),
    }
    if revisions:
        attributes["vcs.ref.head.revision"] = ",".join(sorted(set(revisions.values())))
    attributes["axletree.children"] = int((new.get("status") or {}).get("children") or 0)
    return Span("rollout", trace, _root(trace), 0, began, max(began, now.timestamp()), attributes)


def open_export(endpoint: str, *, hub_id: str) -> Export:
    """Send to an OTLP/HTTP collector at `endpoint`, an address without `/v1/traces`. Raises `TracesUnavailable`."""
    try:
        from hub.telemetry.otlp import OtlpExport  # noqa: PLC0415 - an extra of its own
    except ImportError as error:
        raise TracesUnavailable("traces need the extra: pip install 'axletree[otel]'") from error
    return OtlpExport(endpoint, hub_id=hub_id)


async def close_export(export: Export) -> None:
    """Give it a moment to send what is left. A thread that waits for a collector holds up no end."""
    closed = threading.Event()

    def close() -> None:
        export.close()
        closed.set()

    threading.Thread(target=close, name="last-spans", daemon=True).start()
    give_up = time.monotonic() + _CLOSE_SECONDS
    while not closed.is_set():
        if time.monotonic() > give_up:
            log.info("the last spans are not sent: the collector does not answer")
            return
        await asyncio.sleep(_CLOSE_POLL)


def _trace(owner: Manifest, plan: int) -> int:
    return _number(f"{owner['metadata'].get('uid', '')}/plan/{plan}", 16)


def _root(trace: int) -> int:
    return _number(f"{trace:x}/rollout", 8)


def _number(text: str, size: int) -> int:
    """An id that is never 0, which means none."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1


def _newest(obj: Manifest) -> dict[str, Any]:
    history = (obj.get("status") or {}).get("history") or ()
    return history[0] if history else {}


def _ready(obj: Manifest) -> bool:
    status = obj.get("status") or {}
    current = status.get("observedGeneration") in (None, obj["metadata"].get("generation"))
    conditions = status.get("conditions") or ()
    return current and any(
        each.get("type") == "Ready" and each.get("status") == "True" for each in conditions
    )


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None
