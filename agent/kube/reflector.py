"""A cache of one collection, kept by list and watch.

Four rules make it safe to act on. An error never changes the cache: what was seen stays until a whole list
or an event says otherwise. A list after a gap is compared with the cache, so that what vanished meanwhile is
told as deleted. A watch that ends resumes where it was: quiet fleets cost one request every few minutes. And
after a server could not be reached, it is asked how far it is: one that was restored from a backup is before
what was seen, and a watch from there would be silent, without an error, until the server is as far again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from agent.contract.errors import ApiError, TransientError
from agent.contract.manifest import as_number
from agent.kube.connection import selection
from agent.kube.response import list_items
from agent.kube.versions import VersionClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from agent.kube.response import WatchEvent

logger = logging.getLogger(__name__)

Key: TypeAlias = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-scoped kinds."""
Callback: TypeAlias = "Callable[[Manifest | None, Manifest | None], None]"

_LOST = frozenset({404, 410})
"""A watch that ends so cannot be resumed: its version expired, or its CRD went (and may come back)."""
_SERVER_ERROR = 500
_WATCH_SECONDS = (240.0, 290.0)
_HEALTHY_SECONDS = 5.0
"""A watch that lasted so long, or told something, starts the backoff afresh."""


class CacheNotSynced(TransientError, TimeoutError):
    """The cache did not get there in time."""

    reason = "CacheNotSynced"


class Reflector:
    """The objects of `path` that the selectors match, as they last were; `run()` keeps them so.

    `transform` may trim each object before it is kept. Subscribers are called synchronously, after the cache
    changed, with (old, new): (None, obj) for a new one and for all of the first list, (obj, None) for a
    deletion. They must not block; what one raises is logged and stops nobody else.
    """

    def __init__(
        self,
        client: RestClient,
        path: str,
        *,
        label_selector: str = "",
        field_selector: str = "",
        transform: Callable[[Manifest], Manifest] | None = None,
        resync_backoff: tuple[float, float] = (0.2, 30.0),
        on_rewound: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self.synced = False
        self.last_contact = 0.0
        self.last_error: ApiError | TransientError | None = None
        """Why it is out of contact; None while it is not. A 404 says that the collection itself is gone."""
        self._client = client
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._transform = transform
        self._shortest, self._longest = resync_backoff
        self._cache: dict[Key, Manifest] = {}
        self.items: Mapping[Key, Manifest] = MappingProxyType(self._cache)
        self._callbacks: list[Callback] = []
        self._version: str | None = None
        self._first = asyncio.Event()
        self._on_rewound = on_rewound
        """Called where the server went back in time, before the cache follows."""
        self._unreached = False
        self._clock = VersionClock()

    def subscribe(self, callback: Callback) -> None:
        """Call back on every change from now on; what is cached already is not told again."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            began, before = loop.time(), self._version
            try:
                if self._version is None or (self._unreached and await self._rewound()):
                    await self._list()
                self._unreached = False
                await self._watch()
                self.last_error = None
            except ApiError as error:
                self.last_error = error
                self._unreached |= error.status >= _SERVER_ERROR  # what stands before it answers in its place
                if error.status in _LOST:
                    self._version = None
                logger.info("reflector: %s", error)
            except TransientError as error:
                self.last_error = error
                self._unreached = True
                logger.info("reflector: %s", error)
            if loop.time() - began >= _HEALTHY_SECONDS or self._version not in {None, before}:
                failures = 0
            await asyncio.sleep(self._pause(failures))
            failures += 1

    async def wait_synced(self, timeout: float) -> None:  # noqa: ASYNC109 - part of the interface
        """Until the first whole list is in the cache. Raises `CacheNotSynced`."""
        try:
            async with asyncio.timeout(timeout):
                await self._first.wait()
        except TimeoutError as error:
            raise CacheNotSynced(f"{self.path}: no list in {timeout:g} s: {self.last_error}") from error

    async def wait_version(self, key: Key, resource_version: str, timeout: float) -> None:  # noqa: ASYNC109
        """Until the cache reflects that version of `key` or a later state. Raises `CacheNotSynced`.

        For a numeric version, anything newer in the collection will do (another object's event, a bookmark):
        events come in order. An opaque one must be seen itself.
        """
        held = self._cache.get(key)
        if held is not None and held["metadata"].get("resourceVersion") == resource_version:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._clock.reached(resource_version, key=key)
        except TimeoutError as error:
            raise CacheNotSynced(
                f"{self.path}: version {resource_version} of {'/'.join(key)} was not seen in {timeout:g} s"
            ) from error

    async def _rewound(self) -> bool:
        """Whether the server is before what was seen of it. One that counts in other ways cannot be asked."""
        params = selection(self._label_selector, self._field_selector) | {"limit": "1"}
        page = await self._client.request("GET", self.path, params=params)
        list_items(page, ref=f"GET {self.path}")
        there, seen = as_number(page["metadata"]["resourceVersion"]), as_number(self._version or "")
        if there is None or seen is None or there >= seen:
            return False
        logger.warning("reflector: %s went back in time, from version %d to %d", self.path, seen, there)
        if self._on_rewound is not None:
            self._on_rewound()
        return True

    async def _list(self) -> None:
        """Replace the cache by a whole list, telling only what differs."""
        listing = await self._client.list(
            self.path, label_selector=self._label_selector, field_selector=self._field_selector
        )
        self._contact()
        fresh = {key_of(item): item for item in listing.items}
        gone = [key for key in self._cache if key not in fresh]
        for key, item in fresh.items():
            self._keep(key, item)
        for key in gone:
            self._drop(key)
        self._version = listing.resource_version
        self._clock.advance(listing.resource_version, restart=True)
        self.synced = True
        self._first.set()

    async def _watch(self) -> None:
        events = self._client.watch(
            self.path,
            resource_version=self._version or "",
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout=random.uniform(*_WATCH_SECONDS),  # noqa: S311 - jitter
        )
        async with aclosing(events):
            async for event in events:
                self._contact()
                self._handle(event)
        self._contact()

    def _handle(self, event: WatchEvent) -> None:
        version: str = event.object["metadata"]["resourceVersion"]
        key: Key | None = None
        if event.type != "BOOKMARK":
            key = key_of(event.object)
            if event.type == "DELETED":
                self._drop(key)
            else:
                self._keep(key, event.object)
        self._version = version
        self._clock.advance(version, key=key)

    def _keep(self, key: Key, item: Manifest) -> None:
        old = self._cache.get(key)
        if old is not None and _version_of(item) == _version_of(old) != "":
            return
        new = self._transform(item) if self._transform else item
        self._cache[key] = new
        self._tell(old, new)

    def _drop(self, key: Key) -> None:
        old = self._cache.pop(key, None)
        if old is not None:
            self._tell(old, None)

    def _tell(self, old: Manifest | None, new: Manifest | None) -> None:
        for callback in self._callbacks:
            try:
                callback(old, new)
            except Exception:
                logger.exception("reflector: a subscriber of %s failed", self.path)

    def _contact(self) -> None:
        self.last_contact = asyncio.get_running_loop().time()
        self.last_error = None

    def _pause(self, failures: int) -> float:
        """Nothing after a healthy watch; else exponential with full jitter, and what the server asked for."""
        asked = getattr(self.last_error, "retry_after", None) or 0.0
        if failures == 0 and self.last_error is None:
            return 0.0
        ceiling = min(self._longest, self._shortest * 2.0 ** min(failures, 16))
        return max(asked, random.uniform(self._shortest / 2, ceiling))  # noqa: S311 - jitter


def key_of(manifest: Manifest) -> Key:
    """Key of one object in a cache."""
    metadata = manifest["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _version_of(manifest: Manifest) -> str:
    return manifest["metadata"].get("resourceVersion") or ""
