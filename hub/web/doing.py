"""Acts: noted before they are done, done once for an idempotency key, and noted again with what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web
from sqlalchemy import delete, insert, select, update

from agent.contract.errors import ApiError, AxletreeError
from agent.contract.names import LABEL_SET
from hub.history.database import claim
from hub.history.rows import key_of
from hub.history.tables import answers, audit
from hub.operator import paths
from hub.operator.ordering import dependents_first
from hub.web.acts import asks, decide, posted
from hub.web.asked import ExportRequest, RollbackRequest
from hub.web.call import fetched
from hub.web.models import Done
from hub.web.problems import Busy, KeyInUse, NothingToDo, ParameterInvalid, dumped

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.history.database import Database
    from hub.web.call import Call

log = logging.getLogger(__name__)

MANAGER = "axletree-api"
IDEMPOTENCY_KEY = "Idempotency-Key"
_KINDS = {"applications": "Application", "applicationsets": "ApplicationSet", "clusters": "Cluster"}
_OF_CHILDREN = frozenset({"sync", "rollback"})
"""Acts on a set that are done on each of its children."""
_MAX_KEY = 128
_UNFINISHED = 0
_CONFLICT = 409
_TRIES = 5
_LONGEST = 30.0
"""Seconds of one act, whoever waits for it still."""
STUCK = timedelta(minutes=1)
"""After this a process that began an act and did not end it is taken for dead: its key may be used again."""


class Acts:
    """One handler for all of them: the route says which."""

    def __init__(self, client: RestClient, database: Database, *, now: Callable[[], datetime]) -> None:
        self._client = client
        self._database = database
        self._now = now
        self._running: set[asyncio.Task[web.Response]] = set()

    async def act(self, call: Call) -> web.Response:
        """Do it, or give the answer that the same key had before. Raises `WebError`, `ApiError`."""
        key = call.request.headers.get(IDEMPOTENCY_KEY, "")
        if len(key) > _MAX_KEY or not key.isprintable():
            raise ParameterInvalid(f"{IDEMPOTENCY_KEY}: at most {_MAX_KEY} printable characters")
        asked = hashlib.sha256(
            dumped([call.request.method, call.request.path, _plain(call.body)])
        ).hexdigest()
        entry = self._entry(call, key)
        begun = partial(_begin, key=key, asked=asked, entry=entry)
        # Who goes away in the middle comes back with the same key: what was begun ends all the same, and is known.
        task = asyncio.create_task(self._through(call, begun, key), name=f"act {call.route.name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _through(
        self, call: Call, begun: Callable[[Connection], tuple[int, Any]], key: str
    ) -> web.Response:
        """From the first note to the last."""
        number, before = await self._database.run(begun)
        if before is not None:
            return web.json_response(before, headers={"Idempotent-Replayed": "true"})
        end = partial(_end, number=number, who=call.caller.name, key=key)
        try:
            async with asyncio.timeout(_LONGEST):
                done = await self._do(call)
        except Exception as error:
            reason = error.reason if isinstance(error, AxletreeError) else type(error).__name__
            await self._database.run(partial(end, outcome=reason, body=None))
            raise
        body = done.model_dump(mode="json", by_alias=True)
        await self._database.run(partial(end, outcome="Done", body=body))
        return web.json_response(body)

    def _ended(self, task: asyncio.Task[web.Response]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("an act failed: %s", error)  # told to who asked; here, where nobody waits any more

    async def _do(self, call: Call) -> Done:
        path, obj = await self._target(call)
        if isinstance(call.body, ExportRequest):
            return await self._export(call.body, path, obj)
        token = secrets.token_hex(8)
        if call.route.resource == "applicationsets" and call.route.verb in _OF_CHILDREN:
            said = await self._children(call, token)
        else:
            annotations, said = decide(call.route.verb, obj, call.body, token=token, who=call.caller.name)
            await self._annotate(path, annotations)
        request = token if asks(call.body) else ""
        return Done(
            act=call.route.verb, target=path.partition("/v1alpha1/")[2], changed=said, request=request
        )

    async def _children(self, call: Call, token: str) -> list[str]:
        """The act on every child of a set that has something to do. Raises `NothingToDo` where none has.

        Dependents come first: nothing new is to run on something old, if this ends in the middle.
        """
        if isinstance(call.body, RollbackRequest) and call.body.release:
            raise ParameterInvalid("a release is one of an Application: children have different ones")
        path = paths.namespaced(paths.APPLICATIONS, call.namespace)
        children = (await self._client.list(path, label_selector=f"{LABEL_SET}={call.name}")).items
        changes = []
        for obj in dependents_first(children):
            with contextlib.suppress(NothingToDo):
                changes.append((key_of(obj), *decide(call.route.verb, obj, call.body, token=token)))
        if not changes:
            raise NothingToDo("no child of it waits for that")
        for key, wanted, _ in changes:
            await self._annotate(paths.application(key), wanted)
        return [f"{key} {each.removeprefix('it ')}" for key, _, said in changes for each in said]

    async def _annotate(self, path: str, annotations: dict[str, str | None]) -> None:
        await self._client.merge_patch(
            path, {"metadata": {"annotations": annotations}}, field_manager=MANAGER
        )

    async def _export(self, asked: ExportRequest, path: str, obj: Manifest) -> Done:
        """Keep the value on the Application itself; who writes another at the same time is not overwritten."""
        for left in reversed(range(_TRIES)):
            values = posted(obj, asked, at=_stamp(self._now()))
            version = obj["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "status": {"external": values}}
            try:
                await self._client.merge_patch(path, patch, field_manager=MANAGER, subresource="status")
                break
            except ApiError as error:
                if error.status != _CONFLICT:
                    raise
                if not left:
                    raise Busy("it changed meanwhile", retry_after=0.1) from error
            obj = await fetched(self._client, path)  # the controller and the gateway write to it, too
        return Done(
            act="export", target=path.partition("/v1alpha1/")[2], changed=[f"{asked.output} is there"]
        )

    async def _target(self, call: Call) -> tuple[str, Manifest]:
        """What is changed: of a child that is refreshed, its set."""
        if call.route.resource == "clusters":
            path = f"{paths.CLUSTERS}/{call.name}"
            return path, await fetched(self._client, path)
        if call.route.resource == "applicationsets":
            path = paths.application_set(call.key)
            return path, await fetched(self._client, path)
        path = paths.application(call.key)
        obj = await fetched(self._client, path)
        owner = (obj["metadata"].get("labels") or {}).get(LABEL_SET)
        if owner and call.route.verb == "refresh":
            path = paths.application_set(f"{call.namespace}/{owner}")
            return path, await fetched(self._client, path)
        return path, obj

    def _entry(self, call: Call, key: str) -> dict[str, Any]:
        now = self._now()
        return {
            "at": _stamp(now),
            "stuck": _stamp(now - STUCK),
            "who": call.caller.name,
            "source": call.source,
            "act": call.route.verb,
            "kind": _KINDS[call.route.resource],
            "namespace": call.namespace,
            "name": call.name,
            "detail": _plain(call.body) | ({"idempotencyKey": key} if key else {}),
            "outcome": "Started",
        }


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(body: Any) -> dict[str, Any]:
    found: dict[str, Any] = {} if body is None else body.model_dump(mode="json", by_alias=True)
    return found


def _begin(connection: Connection, *, key: str, asked: str, entry: dict[str, Any]) -> tuple[int, Any]:
    """The audit entry's number; or the answer of before. Raises `KeyInUse`."""
    who = entry["who"]
    if key:
        known = connection.execute(
            select(answers.c.asked, answers.c.status, answers.c.body, answers.c.at).where(
                answers.c.who == who, answers.c.key == key
            )
        ).first()
        if known is not None:
            if known.asked != asked:
                raise KeyInUse("this idempotency key came before with another request")
            if known.status == _UNFINISHED and known.at > entry["stuck"]:
                raise KeyInUse("a request with this idempotency key is being answered", retry_after=1.0)
            if known.status != _UNFINISHED:
                return 0, known.body
            connection.execute(delete(answers).where(answers.c.who == who, answers.c.key == key))
        row = {"who": who, "key": key, "asked": asked, "status": _UNFINISHED, "body": {}, "at": entry["at"]}
        if not claim(connection, answers, row):
            raise KeyInUse("a request with this idempotency key is being answered", retry_after=1.0)
    noted = {name: value for name, value in entry.items() if name != "stuck"}
    made = connection.execute(insert(audit).returning(audit.c.id), [noted])
    return int(made.scalar_one()), None


def _end(connection: Connection, *, number: int, outcome: str, who: str, key: str, body: Any) -> None:
    """Note the outcome. A key whose act failed may be tried again."""
    connection.execute(update(audit).where(audit.c.id == number).values(outcome=outcome))
    if not key:
        return
    mine = (answers.c.who == who, answers.c.key == key)
    if body is None:
        connection.execute(delete(answers).where(*mine))
    else:
        connection.execute(update(answers).where(*mine).values(status=200, body=body))
