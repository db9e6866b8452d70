"""The listener of the API: each route behind its policy, every failure as one kind of answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import HttpVersion11, web
from pydantic import BaseModel, ValidationError

from agent.contract.errors import ApiError, AxletreeError, TransientError
from hub.history import queries
from hub.web.auth import Access as Authority
from hub.web.call import Call
from hub.web.doing import Acts
from hub.web.door import Door
from hub.web.explaining import Explanations
from hub.web.graphs import Graphs
from hub.web.objects import Objects
from hub.web.openapi import document
from hub.web.passing import Passing
from hub.web.policy import PREFIX, ROUTES, Access
from hub.web.problems import (
    BodyTimeout,
    Busy,
    EncodingUnsupported,
    ExpectationFailed,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    ParameterInvalid,
    TooMuch,
    WebError,
    dumped,
    problem,
)
from hub.web.reads import Reads
from hub.web.shares import Shares
from hub.web.streams import Streams

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from agent.kube.client import RestClient
    from hub.history.history import History
    from hub.web.auth import Caller
    from hub.web.call import Handler
    from hub.web.policy import Route

log = logging.getLogger(__name__)

_MAX_BODY = 64 * 1024
_BODY_SECONDS = 10.0
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_BUSY_SECONDS = 1.0
_SERVERS = 500
_DAY_SECONDS = 86_400.0
_NAMESPACES_KEPT = 2.0


class ApiServer:
    """Listens between `start` and `stop`."""

    def __init__(
        self, client: RestClient, history: History, *, now: Callable[[], datetime], hub_id: str = ""
    ) -> None:
        self._history = history
        self._access = Authority(client, clock=time.monotonic)
        reads = Reads(client, history, self._access)
        acts = Acts(client, history.database, now=now)
        self.passing = Passing(history.questions)
        streams = Streams(
            history.database, history.feed, self._access, reads, there=self._there, passed=self.passing.passed
        )
        self._handlers: dict[str, Handler] = reads.table() | streams.table()
        self._handlers["graph"] = Graphs(client).graph
        self._handlers |= Objects(client, self._access, hub_id=hub_id).table(ROUTES)
        self.explanations = Explanations(client, history.questions)
        self._handlers["explain"] = self.explanations.explain
        self._handlers |= {route.name: acts.act for route in ROUTES if route.act}
        self._shares = Shares(clock=time.monotonic)
        self._slots = {route.name: asyncio.Semaphore(route.concurrency) for route in ROUTES}
        self._namespaces: tuple[float, list[str]] = (0.0, [])
        self._document = dumped(document())
        self._door: Door | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where it is reached, without a trailing slash. Empty before `start`."""
        return self._url

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext, renew: Callable[[], None]) -> None:
        """Listen; `renew` gives `tls` a new certificate, now and then. Raises OSError where it cannot."""
        door = Door(self.application())
        await door.open(host, port, tls=tls)
        self._door = door
        shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared
        self._url = f"https://{shown}:{door.port}"
        self._upkeep = asyncio.create_task(_daily(renew), name="api-certificate")
        self._warming = asyncio.create_task(self._history.warm(), name="api-search")

    async def answer(self, asked: Any) -> dict[str, Any]:
        """What another process of the API asks this one's controller."""
        serve = self.passing.serve if "set" in asked else self.explanations.serve
        return await serve(asked)

    async def stop(self) -> None:
        for task in (self._upkeep, self._warming):
            if task is not None:
                task.cancel()
        if self._door is not None:
            await self._door.close()
            self._door = None

    def application(self) -> web.Application:
        """All routes of the table, and nothing beside it."""
        app = web.Application(middlewares=[_problems], client_max_size=_MAX_BODY)
        for route in ROUTES:
            app.router.add_route(
                route.method,
                PREFIX + route.path,
                partial(self._serve, route),
                name=route.name,
                expect_handler=_expected,
            )
        return app

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        slots = self._slots[route.name]
        if slots.locked():
            return problem(Busy("too many of these at once", retry_after=_BUSY_SECONDS))
        async with slots:
            try:
                limit = contextlib.nullcontext() if not route.timeout else asyncio.timeout(route.timeout)
                async with limit:
                    return await self._answer(route, request)
            except (TimeoutError, ConnectionError, AxletreeError) as error:
                return _refusal(route, error)
            except Exception:
                log.exception("%s failed", route.name)
                return problem(WebError("it failed inside"))

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        if route.access is Access.PUBLIC:
            return web.Response(body=self._document, content_type="application/json")
        header = request.headers.get("Authorization", "")
        if not self._access.knows(header):
            self._shares.spend(f"address {request.remote}")  # a made-up token costs the API server a question
        caller = await self._access.caller(header)
        self._shares.spend(caller.name)
        with self._shares.place(caller.name, route):
            call = await self._admitted(route, request, caller)
            found = await self._handlers[route.name](call)
        if isinstance(found, BaseModel):
            return web.Response(
                body=found.model_dump_json(by_alias=True).encode(), content_type="application/json"
            )
        return found

    async def _admitted(self, route: Route, request: web.Request, caller: Caller) -> Call:
        """The call, once its policy holds. Raises `WebError`."""
        namespace, name = request.match_info.get("namespace", ""), request.match_info.get("name", "")
        if (namespace and not _NAMESPACE.fullmatch(namespace)) or (name and not _NAME.fullmatch(name)):
            raise NotFound  # no object is called so, and a path must not lead elsewhere
        visible = None
        match route.access:
            case Access.NAMED:
                await self._named(route, caller, namespace, name)
            case Access.CLUSTER:
                await self._access.require(caller, route.verb, route.resource, name=name)
            case Access.VISIBLE:
                there = await self._there()
                visible = await self._access.visible(caller, route.verb, route.resource, there)
        query = _parsed(route.query, _query_of(route, request))
        body = await _body_of(route, request)
        return Call(request, route, caller, query, body, visible)

    async def _named(self, route: Route, caller: Any, namespace: str, name: str) -> None:
        """What may not be read looks as if it were not there; what may not be done is said."""
        may = self._access.may
        if await may(caller, route.verb, route.resource, namespace=namespace, name=name):
            return
        if route.verb != "get" and await may(caller, "get", route.resource, namespace=namespace, name=name):
            raise Forbidden(f"{caller.name} may not {route.verb} {route.resource} in {namespace}")
        raise NotFound

    async def _there(self) -> list[str]:
        """The namespaces in which there is anything, of a moment ago."""
        until, names = self._namespaces
        if time.monotonic() > until:
            of_sets = await self._history.database.run(queries.namespaces_of_sets)
            names = sorted({*of_sets, *await self._history.search.by_namespace()})
            self._namespaces = (time.monotonic() + _NAMESPACES_KEPT, names)
        return names


def _refusal(route: Route, error: Exception) -> web.Response:
    """How a failure is told; what failed inside is in the log alone."""
    retry_after = getattr(error, "retry_after", None) or _BUSY_SECONDS
    if isinstance(error, WebError):
        return problem(error)
    if isinstance(error, ApiError) and error.status < _SERVERS:
        return problem(error, status=error.status)
    if isinstance(error, TransientError | ApiError):
        return problem(Busy(str(error), retry_after=retry_after))
    log.warning("%s: %s", route.name, error)
    return problem(Busy("it failed for now", retry_after=retry_after))


def _query_of(route: Route, request: web.Request) -> dict[str, Any]:
    """Parameters by name: lists where the model has lists, the last one elsewhere."""
    many = {
        field.alias for field in route.query.model_fields.values() if "list" in str(field.annotation).lower()
    }
    return {key: request.query.getall(key) if key in many else request.query[key] for key in request.query}


async def _body_of(route: Route, request: web.Request) -> BaseModel | None:
    if route.body is None:
        return None
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise EncodingUnsupported("a body is sent as it is, in no Content-Encoding")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise TooMuch(f"a body has at most {_MAX_BODY} bytes") from error
    except TimeoutError as error:
        raise BodyTimeout(f"no whole body came in {_BODY_SECONDS:.0f} seconds") from error
    except web.RequestPayloadError as error:
        raise ParameterInvalid("the body cannot be read") from error
    if not raw:
        return _parsed(route.body, {})
    try:
        return route.body.model_validate_json(raw)
    except ValidationError as error:
        raise ParameterInvalid(_said(error)) from error


def _parsed(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ParameterInvalid(_said(error)) from error


def _said(error: ValidationError) -> str:
    """Which fields are wrong, and how; never their values."""
    found = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False)[:3]
    ]
    return "; ".join(found)


async def _daily(act: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(_DAY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        act()


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer what no route matched in the same form as everything else."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(MethodNotAllowed(f"there is no {error.method} here: {allowed}"), allow=allowed)
    except web.HTTPException as error:
        if error.status == NotFound.status:
            return problem(NotFound())
        raise


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """What a client wants to hear before it sends its body."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return problem(ExpectationFailed("of `Expect`, 100-continue alone is known"))
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return None
