from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web

from agent.contract.errors import ApiError
from agent.kube.client import ApiUnreachable, RestClient
from agent.kube.config import KubeConfig
from agent.kube.encoding import yaml_safe
from agent.kube.response import LineSplitter

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/api/v1/namespaces/x/configmaps"


async def test_requests_carry_what_was_asked(server: Any, client: RestClient) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handler(request: web.Request) -> Any:
        seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return web.json_response({"kind": "ConfigMap"})

    server.handler = handler
    await client.apply(
        f"{PATH}/a",
        {"kind": "ConfigMap"},
        field_manager="me",
        force=True,
        dry_run=True,
        impersonate="system:x:y",
    )
    await client.merge_patch(f"{PATH}/a", {"a": None}, field_manager="me", subresource="status")
    await client.json_patch(f"{PATH}/a", [{"op": "remove", "path": "/x"}])
    await client.delete(f"{PATH}/a", uid="u", resource_version="7", propagation="Foreground", dry_run=True)
    await client.create(PATH, {"a": 1}, field_manager="me")
    await client.replace(f"{PATH}/a", {"a": 1})
    method, path, headers, body = seen[0]
    assert method == "PATCH"
    assert path == f"{PATH}/a?fieldManager=me&fieldValidation=Strict&force=true&dryRun=All"
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["Impersonate-User"] == "system:x:y"
    assert headers["User-Agent"] == "test/1"
    assert headers["Accept-Encoding"] == "identity"
    assert body == b'{"kind":"ConfigMap"}'
    assert seen[1][1] == f"{PATH}/a/status?fieldManager=me"
    assert seen[1][2]["Content-Type"] == "application/merge-patch+json"
    assert "Impersonate-User" not in seen[1][2]
    assert seen[2][2]["Content-Type"] == "application/json-patch+json"
    assert json.loads(seen[3][3]) == {
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
        "dryRun": ["All"],
    }
    assert [entry[:2] for entry in seen[4:]] == [("POST", f"{PATH}?fieldManager=me"), ("PUT", f"{PATH}/a")]


async def test_a_status_becomes_an_api_error(server: Any, client: RestClient, kube: Any) -> None:
    async def handler(request: web.Request) -> Any:
        match request.path:
            case "/busy":
                return web.Response(status=429, headers={"Retry-After": "7"}, text="slow down")
            case "/conflict":
                return kube.status(
                    409, "Conflict", details={"causes": [{"field": ".spec"}], "retryAfterSeconds": 3}
                )
            case "/redirect":
                return web.Response(status=302, headers={"Location": "/elsewhere"})
        return kube.status(404, "NotFound")

    server.handler = handler
    with pytest.raises(ApiError, match="GET /a: 404 it is NotFound") as missing:
        await client.get("/a")
    assert (missing.value.status, missing.value.api_reason, missing.value.reason) == (
        404,
        "NotFound",
        "NotFound",
    )
    assert missing.value.ref == "GET /a"
    with pytest.raises(ApiError, match="slow down") as busy:
        await client.get("/busy")
    assert (busy.value.status, busy.value.retry_after, busy.value.transient) == (429, 7.0, True)
    with pytest.raises(ApiError) as conflict:
        await client.get("/conflict")
    assert conflict.value.details["causes"] == [{"field": ".spec"}]
    assert conflict.value.retry_after == 3.0
    with pytest.raises(ApiError) as redirect:
        await client.get("/redirect")
    assert redirect.value.status == 302
    assert ("GET", "/elsewhere") not in server.seen


@pytest.mark.parametrize("body", ["<html>log in to the wifi</html>", "", "[]", '{"kind": "ConfigMapLi'])
async def test_f7_f8_an_answer_that_is_no_object_is_no_answer(
    server: Any, client: RestClient, body: str
) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="text/html")

    server.handler = handler
    with pytest.raises(ApiUnreachable):
        await client.get(f"{PATH}/a")
    with pytest.raises(ApiUnreachable):
        await client.list(PATH)


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"kind": "ConfigMapList", "metadata": {"resourceVersion": "1"}},
        {"kind": "ConfigMapList", "metadata": {}, "items": []},
        {"kind": "Status", "metadata": {"resourceVersion": "1"}, "items": []},
    ],
)
async def test_f5_what_is_not_plainly_a_list_is_no_empty_list(
    server: Any, client: RestClient, page: dict[str, Any]
) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response(page)

    server.handler = handler
    with pytest.raises(ApiUnreachable):
        await client.list(PATH)


async def test_no_connection_and_no_time_are_unreachable(server: Any, client: RestClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = KubeConfig(server=f"http://127.0.0.1:{unused.getsockname()[1]}")
        async with RestClient(closed, user_agent="test/1") as other:
            with pytest.raises(ApiUnreachable, match="GET /a"):
                await other.get("/a")

    async def handler(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    server.handler = handler
    with pytest.raises(ApiUnreachable):
        await client.request("GET", "/slow", timeout=0.05)


async def test_a_list_is_all_its_chunks(server: Any, client: RestClient, kube: Any) -> None:
    async def handler(request: web.Request) -> Any:
        start = int(request.query.get("continue", "0"))
        items = [kube.config_map(f"c{i}", i) for i in range(start, start + 2)]
        return kube.listing(items, version=9, following=str(start + 2) if start < 4 else "")

    server.handler = handler
    found = await client.list(PATH, label_selector="a in (b,c)", limit=2)
    assert [item["metadata"]["name"] for item in found.items] == [f"c{i}" for i in range(6)]
    assert found.resource_version == "9"
    assert {(item["apiVersion"], item["kind"]) for item in found.items} == {("v1", "ConfigMap")}
    assert server.seen[1] == ("GET", f"{PATH}?labelSelector=a+in+%28b%2Cc%29&limit=2&continue=2")


async def test_f36_a_list_whose_snapshot_expires_starts_over_in_one(
    server: Any, client: RestClient, kube: Any
) -> None:
    async def handler(request: web.Request) -> Any:
        if "continue" in request.query:
            return kube.status(410, "Expired")
        items = [kube.config_map(f"c{i}", i) for i in range(1 if "limit" in request.query else 3)]
        return kube.listing(items, version=9, following="next" if "limit" in request.query else "")

    server.handler = handler
    found = await client.list(PATH)
    assert [item["metadata"]["name"] for item in found.items] == ["c0", "c1", "c2"]


async def test_a_watch_takes_events_of_any_size(server: Any, client: RestClient, kube: Any) -> None:
    big = kube.config_map("big", 12, text="x" * 1_500_000)
    collection = kube.collection()
    collection.send("ADDED", kube.config_map("a", 11))
    collection.send("MODIFIED", big)
    collection.send("BOOKMARK", {"metadata": {"resourceVersion": "13"}})
    collection.end_watch()
    server.handler = collection.handle
    events = [event async for event in client.watch(PATH, resource_version="10", timeout=30)]
    assert [event.type for event in events] == ["ADDED", "MODIFIED", "BOOKMARK"]
    assert events[1].object == big
    assert server.seen == [
        ("GET", f"{PATH}?watch=1&allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds=30")
    ]


@pytest.mark.parametrize("late", [False, True])
async def test_f36_a_gone_version_raises_410(
    server: Any, client: RestClient, kube: Any, *, late: bool
) -> None:
    collection = kube.collection()
    if late:
        collection.send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    else:
        collection.watch_answer = lambda: kube.status(410, "Expired")
    server.handler = collection.handle
    with pytest.raises(ApiError) as caught:
        await anext(client.watch(PATH, resource_version="1"))
    assert (caught.value.status, caught.value.api_reason) == (410, "Expired")


@pytest.mark.parametrize("line", [b"{}\n", b"<html>\n", b'{"type":"ADDED","object":{"metadata":{}}}\n'])
async def test_f7_a_watch_line_that_is_no_event_is_no_answer(
    server: Any, client: RestClient, kube: Any, line: bytes
) -> None:
    collection = kube.collection()
    collection.feed.put_nowait(line)
    server.handler = collection.handle
    with pytest.raises(ApiUnreachable):
        await anext(client.watch(PATH, resource_version="1"))


async def test_watches_do_not_use_up_the_slots_of_requests(server: Any, kube: Any) -> None:
    collection = kube.collection(kube.config_map("a", 1))
    server.handler = collection.handle
    async with RestClient(KubeConfig(server=server.url), user_agent="t", timeout=60, limit=1) as client:
        for _ in range(2):
            collection.send("ADDED", kube.config_map("a", 11))
        async with (
            aclosing(client.watch(PATH, resource_version="1")) as one,
            aclosing(client.watch(PATH, resource_version="1")) as two,
        ):
            # Either watch may get both events; what matters is that both connections are open.
            first = {asyncio.create_task(anext(events)) for events in (one, two)}
            await collection.asked(watches=2)
            assert len((await client.list(PATH)).items) == 1
            for task in first:
                task.cancel()
            await asyncio.gather(*first, return_exceptions=True)


async def test_a_token_file_is_read_again_when_refused(server: Any, kube: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    accepted = "Bearer old"

    async def handler(request: web.Request) -> Any:
        if request.headers.get("Authorization") != accepted:
            return kube.status(401, "Unauthorized")
        return web.json_response({"kind": "ConfigMap"})

    server.handler = handler
    config = KubeConfig(server=server.url, token_file=token)
    async with RestClient(config, user_agent="test/1") as client:
        await client.get("/a")
        accepted = "Bearer new"
        with pytest.raises(ApiError, match="401"):
            await client.get("/a")
        assert len(server.seen) == 2  # the same token is not tried twice
        token.write_text("new\n")
        await client.get("/a")
        token.unlink()
        await client.get("/a")
    async with RestClient(config, user_agent="test/1") as client:
        with pytest.raises(ApiUnreachable, match="token file"):
            await client.get("/a")


async def test_a_process_may_bring_its_own_json(server: Any) -> None:
    async def handler(request: web.Request) -> Any:
        return web.Response(body=await request.read(), content_type="application/json")

    server.handler = handler
    value = {"text": "\U0001f600 \u2028", "n": 1}
    config = KubeConfig(server=server.url)
    async with RestClient(config, user_agent="t", loads=orjson.loads, dumps=orjson.dumps) as client:
        assert await client.apply("/a", value, field_manager="me") == value


def test_an_apply_body_is_the_same_as_json_and_as_yaml() -> None:
    text = "\x7f\x85\u2028\u2029\ufeff\uffff\x9f é\U0001f600"
    data = yaml_safe(json.dumps({"k": text}, ensure_ascii=False).encode())
    assert json.loads(data) == {"k": text}
    assert data.decode() == '{"k": "\\u007f\\u0085\\u2028\\u2029\\ufeff\\uffff\\u009f é\U0001f600"}'


def test_lines_are_split_wherever_chunks_end() -> None:
    data = b"one\n\ntwo\nthree\n"
    for size in range(1, len(data) + 1):
        splitter = LineSplitter()
        found = [line for i in range(0, len(data), size) for line in splitter.feed(data[i : i + size])]
        assert found == [b"one", b"two", b"three"]
