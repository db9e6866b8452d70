"""What every host may answer instead of an answer: no generator takes it for "there is nothing"."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.contract.errors import AxletreeError
from hub.core.needs import ExternalNeed
from hub.hosts.ask import Asker, Asking
from hub.hosts.errors import HostBusy, HostDenied, HostNotFound, HostRefused, HostUnreachable
from hub.hosts.objects import FileObjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.hub.hosts.conftest import Host

SPECS: list[tuple[str, str, dict[str, Any]]] = [
    ("scmProvider", "github", {"organization": "org"}),
    ("scmProvider", "gitlab", {"group": "org"}),
    ("scmProvider", "gitea", {"owner": "org"}),
    ("scmProvider", "bitbucket", {"owner": "org", "user": "ann"}),
    ("scmProvider", "bitbucketServer", {"project": "PRJ"}),
    ("scmProvider", "azureDevOps", {"organization": "org", "teamProject": "team"}),
    ("pullRequest", "github", {"owner": "org", "repo": "web"}),
    ("pullRequest", "gitlab", {"project": "org/web"}),
    ("pullRequest", "gitea", {"owner": "org", "repo": "web"}),
    ("pullRequest", "bitbucket", {"owner": "org", "repo": "web"}),
    ("pullRequest", "bitbucketServer", {"project": "PRJ", "repo": "web"}),
    ("pullRequest", "azuredevops", {"organization": "org", "project": "team", "repo": "web"}),
]


async def said(host: Host, make: Callable[[], web.Response]) -> list[BaseException]:
    """What each generator of each host comes to, where the host answers every question so."""

    async def answer(_: web.Request) -> web.Response:
        return make()

    class Everything(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            return answer

    host.routes = Everything()

    async def one(kind: str, name: str, spec: dict[str, Any]) -> BaseException:
        asker = Asker(FileObjects([]), clock=lambda: 0.0)
        need = ExternalNeed(kind, json.dumps({name: {**spec, "api": host.base}}))
        try:
            rows = await asker.answer(need, Asking("shop", "apps"))
        except AxletreeError as error:
            return error
        finally:
            await asker.close()
        return AssertionError(f"{kind} {name} gives {rows}")

    return await asyncio.gather(*(one(*each) for each in SPECS))


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry-After": "120"}, 120.0),
        (429, {"Retry-After": "{date}"}, 600.0),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{epoch}"}, 600.0),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "{epoch}"}, 600.0),
    ],
)
async def test_f11_a_limit_of_every_host_is_kept(
    host: Host, status: int, headers: dict[str, str], wait: float
) -> None:
    at = time.time() + 600
    moments = {"date": formatdate(at, usegmt=True), "epoch": int(at)}
    told = {name: value.format(**moments) for name, value in headers.items()}
    found = await said(host, lambda: web.Response(status=status, headers=told, text="slow down"))
    for (kind, name, _), error in zip(SPECS, found, strict=True):
        assert isinstance(error, HostBusy), (kind, name, error)
        assert error.retry_after == pytest.approx(wait, abs=60), (kind, name)
    assert len(host.asked) == len(SPECS), "nobody asks again at once"


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (500, "oops", HostUnreachable),
        (503, "<html>maintenance</html>", HostUnreachable),
        (200, "<html>please log in</html>", HostUnreachable),
        (200, "", HostUnreachable),
        (200, '[{"name": ', HostUnreachable),
        (401, "{}", HostDenied),
        (404, "{}", HostNotFound),
        (302, "", HostRefused),
    ],
)
async def test_f13_no_host_s_failure_is_an_empty_list(
    host: Host, status: int, text: str, error: type[Exception]
) -> None:
    headers = {"Location": "http://elsewhere.invalid/"} if status == 302 else {}
    found = await said(host, lambda: web.Response(status=status, text=text, headers=headers))
    for (kind, name, _), each in zip(SPECS, found, strict=True):
        assert isinstance(each, error), (kind, name, each)


@pytest.mark.parametrize(
    "body",
    [
        '{"message": "hello"}',
        "{}",
        '""',
        '{"values": {}, "value": {}}',
        "[1]",
        '"text"',
        "null",
        "[null]",
        '{"values": 1}',
    ],
)
async def test_f13_an_answer_of_another_shape_is_no_host_s_answer(host: Host, body: str) -> None:
    found = await said(host, lambda: web.Response(text=body, content_type="application/json"))
    for (kind, name, _), error in zip(SPECS, found, strict=True):
        assert isinstance(error, AxletreeError), (kind, name, error)
