from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.kube.reflector import CacheNotSynced, Reflector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.kube.client import RestClient

PATH = "/api/v1/namespaces/x/configmaps"


class Changes:
    """What a subscriber was told, as (name, old version, new version), and a way to wait for it."""

    def __init__(self, reflector: Reflector) -> None:
        self.told: list[tuple[str, str | None, str | None]] = []
        self._more = asyncio.Event()
        reflector.subscribe(self._changed)

    def _changed(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        versions = [item["metadata"]["resourceVersion"] if item else None for item in (old, new)]
        self.told.append((name, versions[0], versions[1]))
        self._more.set()

    async def until(self, count: int) -> list[tuple[str, str | None, str | None]]:
        async with asyncio.timeout(30):
            while len(self.told) < count:
                self._more.clear()
                await self._more.wait()
        return self.told


@contextlib.asynccontextmanager
async def running(reflector: Reflector) -> AsyncIterator[Reflector]:
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def reflector(client: RestClient) -> Reflector:
    return Reflector(client, PATH, resync_backoff=(0.001, 0.01))


async def test_it_lists_then_follows(server: Any, kube: Any, reflector: Reflector) -> None:
    collection = kube.collection(kube.config_map("a", 3), kube.config_map("b", 4))
    server.handler = collection.handle
    changes = Changes(reflector)
    assert (reflector.synced, dict(reflector.items)) == (False, {})
    async with running(reflector):
        await reflector.wait_synced(30)
        assert reflector.synced
        assert reflector.items["x", "a"]["kind"] == "ConfigMap"
        collection.send("MODIFIED", kube.config_map("a", 11))
        collection.send("DELETED", kube.config_map("b", 12))
        collection.send("ADDED", kube.config_map("c", 13))
        collection.send("DELETED", kube.config_map("never-seen", 14))
        await changes.until(5)
        await reflector.wait_version(("x", "never-seen"), "14", 5)
    assert changes.told == [
        ("a", None, "3"),
        ("b", None, "4"),
        ("a", "3", "11"),
        ("b", "4", None),
        ("c", None, "13"),
    ]
    assert set(reflector.items) == {("x", "a"), ("x", "c")}
    assert reflector.last_contact > 0


async def test_f36_a_watch_that_ends_resumes_without_a_list(
    server: Any, kube: Any, reflector: Reflector
) -> None:
    collection = kube.collection(kube.config_map("a", 3))
    server.handler = collection.handle
    changes = Changes(reflector)
    async with running(reflector):
        await reflector.wait_synced(30)
        collection.send("MODIFIED", kube.config_map("a", 11))
        collection.send("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
        collection.end_watch()
        collection.send("MODIFIED", kube.config_map("a", 21))
        await changes.until(3)
    assert collection.lists == 1
    assert collection.watched_from == ["10", "20"]


async def test_f3_a_server_that_was_restored_is_listed_anew_and_not_waited_for(
    server: Any, kube: Any, client: RestClient
) -> None:
    """A watch from a version that the server does not have yet gives no event and no error."""
    rewound: list[str] = []
    reflector = Reflector(
        client, PATH, resync_backoff=(0.001, 0.01), on_rewound=lambda: rewound.append("back")
    )
    collection = kube.collection(kube.config_map("a", 30), kube.config_map("b", 31), version=40)
    server.handler = collection.handle
    changes = Changes(reflector)
    async with running(reflector):
        await changes.until(2)
        collection.watch_answer = lambda: web.Response(status=503, text="<html>")
        collection.end_watch()
        await collection.asked(watches=3)
        assert rewound == [], "a server that is as far as it was is followed on"
        collection.objects = {"a": kube.config_map("a", 5), "c": kube.config_map("c", 6)}
        collection.version = 7
        await changes.until(5)
        collection.watch_answer = None
        collection.send("MODIFIED", kube.config_map("c", 8))
        await changes.until(6)
    assert changes.told[2:] == [("a", "30", "5"), ("c", None, "6"), ("b", "31", None), ("c", "6", "8")]
    assert rewound == ["back"]


async def test_f36_after_410_the_list_tells_what_changed_and_what_vanished(
    server: Any, kube: Any, reflector: Reflector
) -> None:
    collection = kube.collection(kube.config_map("a", 3), kube.config_map("b", 4), kube.config_map("c", 5))
    server.handler = collection.handle
    changes = Changes(reflector)
    async with running(reflector):
        await changes.until(3)
        del collection.objects["b"]
        collection.objects["c"] = kube.config_map("c", 40)
        collection.objects["d"] = kube.config_map("d", 41)
        collection.version = 50
        collection.send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
        await changes.until(6)
        await reflector.wait_version(("x", "d"), "50", 5)
    assert changes.told[3:] == [("c", "5", "40"), ("d", None, "41"), ("b", "4", None)]
    assert collection.lists == 2


@pytest.mark.parametrize("failure", ["500", "html", "no-list", "empty-object", "401"])
async def test_f35_an_error_never_empties_the_cache(
    server: Any, kube: Any, reflector: Reflector, failure: str
) -> None:
    collection = kube.collection(kube.config_map("a", 3))
    server.handler = collection.handle
    answers = {
        "500": lambda: kube.status(500, "InternalError"),
        "401": lambda: kube.status(401, "Unauthorized"),
        "html": lambda: web.Response(text="<html>"),
        "no-list": lambda: web.json_response({"kind": "ConfigMapList", "metadata": {"resourceVersion": "9"}}),
        "empty-object": lambda: web.json_response({}),
    }
    changes = Changes(reflector)
    async with running(reflector):
        await reflector.wait_synced(30)
        collection.list_answer = answers[failure]
        collection.send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
        await collection.asked(lists=4)
        assert set(reflector.items) == {("x", "a")}
        assert reflector.last_error is not None
        collection.list_answer = None
        collection.objects["b"] = kube.config_map("b", 60)
        await changes.until(2)
        await collection.asked(watches=2)
        assert getattr(reflector, "last_error", ...) is None
    assert changes.told == [("a", None, "3"), ("b", None, "60")]


async def test_f36_a_failing_watch_backs_off_and_resumes_where_it_was(
    server: Any, kube: Any, reflector: Reflector
) -> None:
    collection = kube.collection(kube.config_map("a", 3))
    server.handler = collection.handle
    collection.watch_answer = lambda: kube.status(503, "ServiceUnavailable")
    changes = Changes(reflector)
    async with running(reflector):
        await collection.asked(watches=4)
        collection.watch_answer = None
        collection.send("MODIFIED", kube.config_map("a", 11))
        await changes.until(2)
    assert collection.lists == 1
    assert set(collection.watched_from) == {"10"}


async def test_a_server_that_ends_every_watch_at_once_is_not_hammered(
    server: Any, kube: Any, client: RestClient
) -> None:
    collection = kube.collection(kube.config_map("a", 3))
    collection.watch_answer = lambda: web.Response(text="")
    server.handler = collection.handle
    async with running(Reflector(client, PATH, resync_backoff=(10, 30))) as reflector:
        await reflector.wait_synced(30)
        await asyncio.sleep(0.3)
    assert len(collection.watched_from) <= 2


async def test_wait_version_returns_at_that_version_or_any_newer(
    server: Any, kube: Any, reflector: Reflector
) -> None:
    collection = kube.collection(kube.config_map("a", 3))
    server.handler = collection.handle
    async with running(reflector):
        await reflector.wait_synced(30)
        await reflector.wait_version(("x", "a"), "3", 0.01)
        await reflector.wait_version(("x", "a"), "10", 0.01)  # the list's own version
        with pytest.raises(CacheNotSynced):
            await reflector.wait_version(("x", "a"), "15", 0.01)
        waiting = [asyncio.create_task(reflector.wait_version(("x", "a"), v, 60)) for v in ("15", "11")]
        await asyncio.sleep(0)
        collection.send("ADDED", kube.config_map("other", 11))
        await waiting[1]
        assert not waiting[0].done()
        collection.send("BOOKMARK", {"metadata": {"resourceVersion": "200"}})
        await waiting[0]


async def test_wait_version_of_an_opaque_version_is_by_equality(
    server: Any, kube: Any, reflector: Reflector
) -> None:
    collection = kube.collection(kube.config_map("a", 3))
    server.handler = collection.handle
    async with running(reflector):
        await reflector.wait_synced(30)
        waiting = asyncio.create_task(reflector.wait_version(("x", "a"), "v-b", 60))
        await asyncio.sleep(0)
        item = kube.config_map("a", 3)
        item["metadata"]["resourceVersion"] = "v-b"
        collection.send("MODIFIED", item)
        await waiting
        await reflector.wait_version(("x", "a"), "v-b", 0.01)


async def test_wait_synced_says_why_not(server: Any, kube: Any, reflector: Reflector) -> None:
    collection = kube.collection()
    collection.list_answer = lambda: kube.status(403, "Forbidden")
    server.handler = collection.handle
    async with running(reflector):
        await collection.asked(lists=2)  # so the first answer was read
        with pytest.raises(CacheNotSynced, match="403"):
            await reflector.wait_synced(0.1)


async def test_objects_are_kept_transformed_and_subscribers_stand_alone(
    server: Any, kube: Any, client: RestClient, caplog: pytest.LogCaptureFixture
) -> None:
    collection = kube.collection(kube.config_map("a", 3, secret="s"))
    server.handler = collection.handle
    reflector = Reflector(client, PATH, transform=lambda item: {"metadata": item["metadata"]})

    def broken(_old: Any, _new: Any) -> None:
        raise RuntimeError("broken on purpose")

    reflector.subscribe(broken)
    changes = Changes(reflector)
    async with running(reflector):
        await changes.until(1)
    assert "data" not in reflector.items["x", "a"]
    assert "broken on purpose" in caplog.text
