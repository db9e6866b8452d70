"""Kubernetes Events on our objects, for `kubectl describe`: what a person would want to know, and not more of it.

Bounded three ways: what repeats within ten minutes counts up one Event, an object has a burst and then one in half a
minute, and the hub as a whole a few a second. What goes beyond is dropped and counted: the history has all of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.contract.errors import ApiError, AxletreeError
from hub.history.rows import events_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.operator.caches import Caches
    from hub.telemetry.meters import Meters

log = logging.getLogger(__name__)
API = "/apis/events.k8s.io/v1"
CONTROLLER = "axletree.dev/hub"
CAPACITY = 10_000
"""Changes that may wait to be looked at; the oldest go."""
BURST, RATE = 50, 5.0
"""Of all Events, and how many a second come after that."""
OBJECT_BURST, OBJECT_RATE = 10, 1 / 30
REMEMBERED = 2000
SAME_SECONDS = 600.0
REPEAT_SECONDS = 60.0
"""Between two writes that count one Event up."""
SETTLE, LATEST = 2.0, 10.0
"""Seconds without a change before Events are written, and seconds at most: what is under way needs the API server more.
"""
_NOTE, _NAME, _INSTANCE = 1000, 230, 128
_FORBIDDEN = 403
_PAUSE = 600.0
_BATCH = 100
_MANY = 1000
"""Changes that wait: each keeps an object as it was."""


class Said(NamedTuple):
    """One Event, less when and about what."""

    reason: str
    note: str
    warning: bool = False


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float

    def take(self, now: float, *, burst: float, rate: float) -> bool:
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class _Known:
    path: str
    count: int
    at: float
    written: float


class Announcer:
    """One term's. `clock` in seconds that never jump, `now` for what the Events say."""

    def __init__(
        self,
        client: RestClient,
        *,
        meters: Meters,
        instance: str,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        settle: float = SETTLE,
    ) -> None:
        self._client = client
        self._settle = settle
        self._meters = meters
        self._instance = instance[:_INSTANCE]
        self._clock = clock
        self._now = now
        self._changes: deque[tuple[Manifest | None, Manifest | None, datetime]] = deque(maxlen=CAPACITY)
        self._known: OrderedDict[tuple[str, Said], _Known] = OrderedDict()
        self._objects: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(BURST, clock())
        self._silent_until = 0.0
        self._wake = asyncio.Event()

    async def run(self, caches: Caches) -> None:
        """Until cancelled. What was there before is no news."""
        await caches.wait_synced()
        for objects in (caches.applications, caches.sets, caches.clusters):
            objects.subscribe(self.saw)
        await self.serve()

    def saw(self, old: Manifest | None, new: Manifest | None) -> None:
        """Take one change of an Application, ApplicationSet or Cluster."""
        self._changes.append((old, new, self._now()))
        self._wake.set()

    async def serve(self) -> None:
        while True:
            await self._wake.wait()
            await self._quiet()
            done = 0
            while self._changes:
                old, new, at = self._changes.popleft()
                done += 1
                if new is not None:
                    for said in told(old, new):
                        await self._announce(new, said, at)
                if done % _BATCH == 0:
                    await asyncio.sleep(0)

    async def _quiet(self) -> None:
        """Until nothing has changed for a moment, or much has."""
        until = self._clock() + LATEST
        while self._wake.is_set():
            self._wake.clear()
            await asyncio.sleep(self._settle)
            if self._clock() >= until or len(self._changes) >= _MANY:
                return

    async def _announce(self, obj: Manifest, said: Said, at: datetime) -> None:
        now, uid = self._clock(), str(obj["metadata"].get("uid", ""))
        if now < self._silent_until:
            self._count("dropped")
            return
        known = self._known.get((uid, said))
        if known is not None and now - known.at < SAME_SECONDS:
            await self._repeat(known, now, at)
            return
        if not self._bucket(uid, now).take(now, burst=OBJECT_BURST, rate=OBJECT_RATE) or not self._all.take(
            now, burst=BURST, rate=RATE
        ):
            self._count("dropped")
            return
        made = event(obj, said, now=at, instance=self._instance)
        metadata = made["metadata"]
        path = f"{API}/namespaces/{metadata['namespace']}/events"
        if await self._written("written", self._client.create(path, made)):
            self._known[uid, said] = _Known(f"{path}/{metadata['name']}", 1, now, now)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    async def _repeat(self, known: _Known, now: float, at: datetime) -> None:
        known.count += 1
        known.at = now
        if now - known.written < REPEAT_SECONDS or not self._all.take(now, burst=BURST, rate=RATE):
            self._count("repeated")
            return
        known.written = now
        series = {"count": known.count, "lastObservedTime": _micro(at)}
        await self._written("repeated", self._client.merge_patch(known.path, {"series": series}))

    async def _written(self, outcome: str, write: Any) -> bool:
        try:
            await write
        except AxletreeError as error:
            self._count("dropped")
            if isinstance(error, ApiError) and error.status == _FORBIDDEN:
                log.warning("no Events are written for a while: %s", error)
                self._silent_until = self._clock() + _PAUSE * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            else:
                log.info("an Event is left out: %s", error)
            return False
        self._count(outcome)
        return True

    def _bucket(self, uid: str, now: float) -> _Bucket:
        found = self._objects.get(uid)
        if found is None:
            found = self._objects[uid] = _Bucket(OBJECT_BURST, now)
            if len(self._objects) > REMEMBERED:
                self._objects.popitem(last=False)
        self._objects.move_to_end(uid)
        return found

    def _count(self, outcome: str) -> None:
        self._meters.kube_events.labels(outcome).inc()


def told(old: Manifest | None, new: Manifest) -> Iterator[Said]:
    """What a change is worth telling, as Events. Pure."""
    if old is None:
        return  # it is there: whoever made it knows
    for row in events_of(old, new, at=""):
        said = _said(row["reason"], row["new"], row["message"], new)
        if said is not None:
            yield said


_STATES = {
    ("HealthChanged", "Degraded"): True,
    ("HealthChanged", "Healthy"): False,
    ("SyncChanged", "Failed"): True,
    ("SyncChanged", "OutOfSync"): True,
}
"""States that are worth an Event of their name, and whether as a warning."""
_PREFIXES = {"Released": "release", "Planned": "plan"}


def _said(reason: str, new: str, message: str, obj: Manifest) -> Said | None:  # noqa: PLR0911 - a table
    state = _STATES.get((reason, new))
    if state is not None:
        return Said(new, message if state else f"it is {new}", warning=state)
    if not new or new == "0":
        return None
    match reason:
        case "Released" | "Planned":
            return Said(reason, f"{_PREFIXES[reason]} {new}: {message}")
        case "BlockedChanged":
            return Said("Blocked", f"{new}: {message}" if message else new)
        case "DeletionChanged":
            held = new.endswith(" Held")
            return Said(
                "DeletionHeld" if held else "Deleting", f"{new}: {message}" if held else new, warning=held
            )
        case "WavesChanged":
            return Said(reason, new)
        case "ClusterChanged":
            return Said(new, message, warning=not _ready(obj))
        case _:
            return None


def event(obj: Manifest, said: Said, *, now: datetime, instance: str) -> Manifest:
    """As `events.k8s.io/v1` wants it; of what has no namespace in `default`."""
    metadata = obj["metadata"]
    about = {
        "apiVersion": obj.get("apiVersion") or "axletree.dev/v1alpha1",
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    if metadata.get("namespace"):
        about["namespace"] = metadata["namespace"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:_NAME]}.{secrets.token_hex(8)}",
            "namespace": metadata.get("namespace") or "default",
        },
        "eventTime": _micro(now),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "action": said.reason,
        "reason": said.reason,
        "regarding": about,
        "note": said.note.encode()[:_NOTE].decode(errors="ignore"),
        "type": "Warning" if said.warning else "Normal",
    }


def _ready(obj: Manifest) -> bool:
    found = (obj.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in found)


def _micro(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
