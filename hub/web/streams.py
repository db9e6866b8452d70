"""What waits: a commit's rollout by long poll, and events as they come."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from agent.contract.errors import AxletreeError
from hub.history import queries
from hub.history.queries import EventFilter
from hub.web import models as m
from hub.web.asked import MAX_LIMIT, MAX_WAIT
from hub.web.problems import NotFound, dumped
from hub.web.rollout import verdict
from hub.web.telling import event_filter, event_of, number_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from hub.history.database import Database
    from hub.history.feed import Feed, Listener
    from hub.web import asked as q
    from hub.web.auth import Access
    from hub.web.call import Call, Handler
    from hub.web.reads import Reads

PING_SECONDS = 15.0
MISSED = "EventsMissed"
CHECK_SECONDS = 30.0
SETTLE_SECONDS = 0.1
"""Changes come in bursts: one look for all of them."""
GATHER_SECONDS = 0.01
"""Who asks within this shares one look."""


class Streams:
    def __init__(
        self,
        database: Database,
        feed: Feed,
        access: Access,
        reads: Reads,
        *,
        there: Callable[[], Awaitable[Sequence[str]]],
        passed: Callable[..., Awaitable[bool]],
    ) -> None:
        self._passed = passed
        self._there = there
        self._database = database
        self._feed = feed
        self._access = access
        self._reads = reads
        self._looks: dict[tuple[str, str], asyncio.Task[m.Rollout]] = {}

    def table(self) -> dict[str, Handler]:
        return {"rollout": self.rollout, "events": self.events}

    # -- the rollout of a commit

    async def rollout(self, call: Call) -> m.Rollout:
        """At once where it is over; else when it changes, is over, or the time is up, as asked."""
        asked: q.RolloutQuery = call.query
        seconds = min(float(asked.wait.removesuffix("s")), float(MAX_WAIT))
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + seconds
        with self._feed.listening(EventFilter(owner=call.key)) as listener:
            first = now = await self._look(call)
            while not now.over and (left := deadline - loop.time()) > 0:
                await _moved(listener, left)
                now = await self._look(call)
                if asked.until == "Change" and now != first:
                    break
        if loop.time() - began > CHECK_SECONDS:
            await self._may_still(call)
        return now

    async def _may_still(self, call: Call) -> None:
        """Who waited long may have lost the right to the answer. Raises `NotFound`, `Unauthenticated`."""
        caller = await self._access.caller(call.request.headers.get("Authorization", ""))
        route = call.route
        if not await self._access.may(
            caller, route.verb, route.resource, namespace=call.namespace, name=call.name
        ):
            raise NotFound

    async def _look(self, call: Call) -> m.Rollout:
        """What holds now. All who wait for the same thing are woken together, and one look answers them."""
        asked = (call.key, call.query.revision)
        look = self._looks.get(asked)
        if look is None:
            look = self._looks[asked] = asyncio.create_task(self._found(*asked), name="rollout-look")
            look.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(look)

    async def _found(self, key: str, revision: str) -> m.Rollout:
        await asyncio.sleep(GATHER_SECONDS)
        del self._looks[key, revision]  # who asks from now on may know of something newer
        row = await self._reads.set_row(key)
        unwell = await self._database.run(partial(queries.unwell, owner=key))
        known = any(commit.startswith(revision) for commit in row["revisions"].values())
        earlier = not known and await self._database.run(
            partial(queries.was_planned, set_key=key, revision=revision)
        )
        unsure = not earlier if not known else not unwell and not row["ready"]
        attempted = await self._reads.attempted(key) if unsure else []
        failed = any(commit.startswith(revision) for commit in attempted)
        if not known and not earlier and not failed:
            earlier = await self._passed(key, revision, plan=row["revisions"])
        return verdict(
            revision,
            row,
            unwell,
            superseded=earlier,
            unplanned=failed and not known,
            frozen=bool(attempted) and not failed,
        )

    # -- events

    async def events(self, call: Call) -> web.StreamResponse:
        """Server-sent events until the caller goes, may not see them any more, or does not keep up."""
        asked: q.EventQuery = call.query
        last = call.request.headers.get("Last-Event-ID", "") or asked.cursor
        first, newest = await self._database.run(queries.event_bounds)
        after = number_of(last, what="Last-Event-ID: a number that came as an event's id") if last else newest
        missed = _missed(after, first, newest)
        if missed is not None:
            after = missed.id
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        wanted = event_filter(asked, call.visible, after=after)
        with self._feed.listening(wanted) as listener:
            await response.prepare(call.request)
            await response.write(b": connected\n\n" + (_written(missed) if missed is not None else b""))
            after = await self._backlog(response, wanted, after)
            await self._follow(call, response, listener, after)
        return response

    async def _backlog(self, response: web.StreamResponse, wanted: EventFilter, after: int) -> int:
        """What came between; gives the id up to which all was sent."""
        while True:
            page = await self._database.run(partial(queries.list_events, wanted=wanted, limit=MAX_LIMIT))
            for row in page.items:
                await response.write(_encoded(row))
                after = row["id"]
            if not page.more:
                return after
            wanted = queries.later(wanted, after)

    async def _follow(self, call: Call, response: web.StreamResponse, listener: Listener, after: int) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        known = set() if call.visible is None else set(await self._there())
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    row = await listener.next()
            except TimeoutError:
                await response.write(b": ping\n\n")
            else:
                if row is None:
                    return  # too slow: it comes back with the last id
                if row["id"] > after:
                    await response.write(_encoded(row))
            if loop.time() - checked > CHECK_SECONDS:
                if not await self._still(call, known):
                    return
                checked = loop.time()

    async def _still(self, call: Call, known: set[str]) -> bool:
        """Whether the caller may see what it could at first, no less and no more; it comes back by itself.

        `known` are the namespaces that it was asked of, and learns of new ones.
        """
        verb, resource = call.route.verb, call.route.resource
        try:
            caller = await self._access.caller(call.request.headers.get("Authorization", ""))
            names = call.visible
            if names is None:
                return await self._access.may(caller, verb, resource)
            if await self._access.visible(caller, verb, resource, names) != names:
                return False
            new = set(await self._there()) - known
            known |= new
            return not new or await self._access.visible(caller, verb, resource, new) == ()
        except AxletreeError:
            return False  # what cannot be asked does not go on, either


async def _moved(listener: Listener, seconds: float) -> None:
    """Until something happened, and a moment more."""
    try:
        async with asyncio.timeout(seconds):
            if await listener.next() is None:
                await asyncio.sleep(SETTLE_SECONDS)
    except TimeoutError:
        return
    await asyncio.sleep(SETTLE_SECONDS)
    listener.drain()


def _missed(after: int, first: int, newest: int) -> m.Event | None:
    """What is told to who comes back after what is not kept any more, or is of another database."""
    if first - 1 <= after <= newest:
        return None
    message = "events before are not kept any more" if after <= newest else "it is another database by now"
    about = dict.fromkeys(("namespace", "name", "cluster", "application_set", "old", "new", "at"), "")
    return m.Event(id=max(0, first - 1), kind="Hub", reason=MISSED, message=message, **about)


def _encoded(row: dict[str, object]) -> bytes:
    return _written(event_of(row))


def _written(event: m.Event) -> bytes:
    data = dumped(event.model_dump(mode="json", by_alias=True))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.reason.encode(), data)
