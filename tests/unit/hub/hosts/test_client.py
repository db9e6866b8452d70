from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from hub.hosts.client import ATTEMPTS, HostClient, Memory, base_url
from hub.hosts.errors import HostBusy, HostDenied, HostNotFound, HostRefused, HostUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from tests.unit.hub.hosts.conftest import Host


def answering(*answers: web.Response | Callable[[], web.Response]) -> Any:
    left = list(answers)

    async def handler(request: web.Request) -> web.Response:
        one = left.pop(0) if len(left) > 1 else left[0]
        return one() if callable(one) else one

    return handler


@pytest.mark.parametrize(
    ("status", "headers", "kind", "after"),
    [
        (429, {"Retry-After": "600"}, HostBusy, 600),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000100"}, HostBusy, 100),
        (403, {}, HostDenied, None),
        (401, {}, HostDenied, None),
        (404, {}, HostNotFound, None),
        (302, {"Location": "https://elsewhere.example.com/"}, HostRefused, None),
        (503, {"Retry-After": "120"}, HostUnreachable, 120),
    ],
)
async def test_f11_what_a_host_says_is_an_error_of_its_own(
    host: Host,
    session: aiohttp.ClientSession,
    *,
    status: int,
    headers: dict[str, str],
    kind: type[Exception],
    after: float | None,
) -> None:
    host.routes["/x"] = answering(lambda: web.Response(status=status, headers=headers))
    client = HostClient(
        session, host.base, authorization={"Authorization": "Bearer s3cret"}, wall=lambda: 1_700_000_000
    )
    with pytest.raises(kind) as caught:
        await client.get("x")
    assert type(caught.value) is kind
    assert getattr(caught.value, "retry_after", None) == after
    assert "s3cret" not in str(caught.value)
    assert len(host.asked) == 1


async def test_f11_a_short_limit_is_waited_for(host: Host, session: aiohttp.ClientSession) -> None:
    limited = web.Response(status=429, headers={"Retry-After": "0"})
    host.routes["/x"] = answering(limited, lambda: web.json_response([1]))
    assert (await HostClient(session, host.base).get("x")).value == [1]
    assert len(host.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500, text="oops"),
        lambda: web.Response(text="<html>log in</html>", content_type="text/html"),
        lambda: web.Response(text='{"cut": ', content_type="application/json"),
    ],
)
async def test_f13_half_an_answer_or_a_page_of_html_is_no_answer(
    host: Host, session: aiohttp.ClientSession, answer: Callable[[], web.Response]
) -> None:
    host.routes["/x"] = answering(answer)
    with pytest.raises(HostUnreachable):
        await HostClient(session, host.base).get("x")
    assert len(host.asked) == ATTEMPTS


async def test_a_host_that_is_away(session: aiohttp.ClientSession) -> None:
    with pytest.raises(HostUnreachable, match=r"127\.0\.0\.1"):
        await HostClient(session, "http://127.0.0.1:1").get("x")


async def test_an_unchanged_answer_is_not_sent_again(host: Host, session: aiohttp.ClientSession) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304)
        link = f'<{host.base}/x?page=2>; rel="next"'
        return web.json_response([1], headers={"ETag": '"v1"', "Link": link})

    host.routes["/x"] = handler
    memory = Memory()
    for identity in ("a", "a", "b"):
        client = HostClient(session, host.base, memory=memory, identity=identity)
        answer = await client.get("x")
        assert (answer.value, answer.next) == ([1], f"{host.base}/x?page=2")
    assert [request.headers.get("If-None-Match") for request in host.asked] == [None, '"v1"', None]


async def test_f13_what_comes_after_a_full_last_page_is_found_though_that_page_is_unchanged(
    host: Host, session: aiohttp.ClientSession
) -> None:
    there = [1, 2]

    async def handler(request: web.Request) -> web.Response:
        page = int(request.query.get("page", "1"))
        items = there[2 * page - 2 : 2 * page]
        etag = f'"{items}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        more = len(there) > 2 * page
        link = {"Link": f'<{host.base}/x?per_page=2&page={page + 1}>; rel="next"'} if more else {}
        return web.json_response(items, headers={"ETag": etag, **link})

    host.routes["/x"] = handler
    memory = Memory()

    async def found() -> list[int]:
        client = HostClient(session, host.base, memory=memory)
        return [one async for page in client.pages("x", {"per_page": 2}) for one in page.value]

    assert await found() == [1, 2]
    there.append(3)
    assert await found() == [1, 2, 3]


async def test_pages_are_followed_on_the_same_host_alone(host: Host, session: aiohttp.ClientSession) -> None:
    async def handler(request: web.Request) -> web.Response:
        page = int(request.query.get("page", "1"))
        target = host.base if page < 3 else "https://elsewhere.example.com"
        return web.json_response([page], headers={"Link": f'<{target}/x?page={page + 1}>; rel="next"'})

    host.routes["/x"] = handler
    found = []

    async def read() -> None:
        async for page in HostClient(session, host.base).pages("x"):
            found.extend(page.value)

    with pytest.raises(HostRefused, match="another host"):
        await read()
    assert found == [1, 2, 3]


@pytest.mark.parametrize(
    "address", ["ftp://h/x", "https://user:pass@h", "file:///etc/passwd", "https://", "h", "https://h?x=1"]
)
def test_s6_addresses_that_are_not_asked(address: str) -> None:
    with pytest.raises(HostRefused) as caught:
        base_url(address)
    assert "pass" not in str(caught.value) or "passwd" in address
