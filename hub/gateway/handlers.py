"""The routes' handlers: parse, call one thing, answer."""

from __future__ import annotations

import asyncio
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from agent.contract.canonical import canonical_json
from agent.contract.wire import (
    LONG_POLL_SECONDS,
    SIGNATURE_HEADER,
    JoinRequest,
    KeysAnswer,
    RenewRequest,
    ReportBatch,
    ReturnRequest,
)
from hub.gateway import admission
from hub.gateway.errors import CertificateRequired, NoInformation, NotReady, RequestInvalid
from hub.gateway.reports import permitted
from hub.gateway.standing import standing
from hub.gateway.webhooks import received
from hub.store.port import is_blob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent.contract.manifest import Manifest
    from agent.contract.model import WireModel
    from hub.gateway.assignments import Board, View
    from hub.gateway.clusters import Clusters
    from hub.gateway.guard import Admit, Call, Handler
    from hub.gateway.identity import HubIdentity
    from hub.gateway.join import Enrolment
    from hub.gateway.peers import Peer
    from hub.gateway.reports import Intake
    from hub.gateway.webhooks import Listener

_WAIT = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,4})(?:$|[,;\s])")
_MAX_DIGITS = 9
PIECE = 256 * 1024
"""Bytes of a bundle that are sent between two looks at whether its agent is still let in."""
_ACCEPT_SECONDS = 2
"""How soon a spoke that waits to be accepted may ask again."""


class Blobs(Protocol):
    """The part of the bundle store that serving needs: stored bytes by the sha256 that names them."""

    async def fetch(self, blob: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the routes need, and the routes."""

    identity: Callable[[], HubIdentity]
    board: Board
    intake: Intake
    clusters: Clusters
    enrolment: Enrolment
    blobs: Blobs
    admit: Admit
    refused: Callable[[Peer], bool]
    """Whether a certificate that was in force is not any more."""
    ready: Callable[[], bool]
    stopping: Callable[[], bool]
    admission_key: str
    refuse: Callable[[], Callable[[Manifest], Awaitable[str]] | None]
    """Who may say no to an object, if the controller runs here."""
    webhooks: Callable[[], Listener]
    """Who hears what Git hosts tell."""

    def table(self) -> dict[str, Handler]:
        """Handlers by their routes' names."""
        return {
            "healthz": self.healthz,
            "ca": self.ca,
            "keys": self.keys,
            "join": self.join,
            "comeback": self.come_back,
            "assignment": self.assignment,
            "bundle": self.bundle,
            "reports": self.reports,
            "renew": self.renew,
            "admission": self.admission,
            "webhook": self.webhook,
        }

    async def healthz(self, _call: Call) -> web.Response:
        if not self.ready():
            raise NotReady("the caches are not whole yet", retry_after=1)
        return web.Response(text="ok")

    async def ca(self, _call: Call) -> web.Response:
        """Public: who joins compares it with the hash in its token before it sends anything."""
        return web.Response(text=self.identity().ca_pem, content_type="application/x-pem-file")

    async def keys(self, call: Call) -> web.Response:
        """Public: what each generation says is signed by a key that whoever asks must know already."""
        after = call.request.query.get("after", "0")
        if not after.isdecimal() or len(after) > _MAX_DIGITS:
            raise RequestInvalid("after is the number of a generation")
        identity = self.identity()
        held = identity.generation - int(after)
        return _json(KeysAnswer(chain=list(identity.chain[-held:]) if held > 0 else []))

    async def come_back(self, call: Call) -> web.Response:
        if call.peer is None:
            raise CertificateRequired("this route needs a client certificate")
        known = await self.enrolment.come_back(call.peer, ReturnRequest.model_validate_json(call.body))
        if known:
            return web.Response(status=200)
        return web.Response(status=202, headers={"Retry-After": str(_ACCEPT_SECONDS)})

    async def join(self, call: Call) -> web.Response:
        answer = await self.enrolment.join(JoinRequest.model_validate_json(call.body))
        if answer is None:
            return web.Response(status=202, headers={"Retry-After": str(_ACCEPT_SECONDS)})
        return _json(answer, status=201)

    async def renew(self, call: Call) -> web.Response:
        if call.peer is None:
            raise CertificateRequired("this route needs a client certificate")
        return _json(
            await self.enrolment.renew(call.peer, RenewRequest.model_validate_json(call.body)), status=201
        )

    async def admission(self, call: Call) -> web.Response:
        """What an API server asks about an object that is about to be written."""
        if not hmac.compare_digest(call.request.match_info["key"].encode(), self.admission_key.encode()):
            raise NoInformation("there is nothing here")
        return web.json_response(await admission.answer(call.body, self.refuse()))

    async def webhook(self, call: Call) -> web.Response:
        """What a Git host tells. Nothing of it is read before its signature holds."""
        listener = self.webhooks()
        headers = {name.lower(): value for name, value in call.request.headers.items()}
        host = call.request.match_info["host"]
        event = received(host, headers, call.body, secrets=listener.secrets())
        if event is not None:
            listener.take(event)
        return web.Response(status=202)

    async def reports(self, call: Call) -> web.Response:
        batch = ReportBatch.model_validate_json(call.body)
        answer = self.intake.take(call.cluster, batch)
        if call.peer is not None:
            told = standing(call.peer, self.clusters.get(call.cluster), self.identity(), self.clusters.count)
            answer = answer.model_copy(update=told)
        return _json(answer)

    async def assignment(self, call: Call) -> web.Response:
        """Answer with the document, or 304; with `Prefer: wait=N`, once it differs from what is held.

        No Assignment at all is a 404, which says nothing: an empty document would say "run nothing".
        """
        held = call.request.headers.get("If-None-Match", "").removeprefix("W/").strip('" ')
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _wait_seconds(call.request.headers.get("Prefer", ""))
        while True:
            view = self.board.view(call.cluster)
            if view is not None and view.etag != held:
                return _document(view, self.identity())
            if self.stopping():
                raise NotReady("the gateway is stopping", retry_after=1)
            remaining = deadline - loop.time()
            if remaining <= 0:
                break
            await self.board.wait(call.cluster, remaining)
            if call.peer is not None:
                await self.admit(call.peer)
        if view is None:
            raise NoInformation("there is no assignment for this cluster")
        return web.Response(status=304, headers={"ETag": f'"{view.etag}"'})

    async def bundle(self, call: Call) -> web.Response:
        """Send the stored bytes as they are: the agent hashes what it receives, so nobody unpacks."""
        blob = call.request.match_info["blob"]
        if not is_blob(blob) or not permitted(self.board.view(call.cluster), blob):
            raise NoInformation("there is no such bundle for this cluster")
        data = await self.blobs.fetch(blob)
        if data is None:
            raise NoInformation("there is no such bundle for this cluster")
        headers = {"ETag": f'"{blob}"', "Cache-Control": "private, max-age=31536000, immutable"}
        if len(data) <= PIECE:
            return web.Response(body=data, content_type="application/octet-stream", headers=headers)
        headers["Content-Length"] = str(len(data))
        body = self._pieces(call, data)
        return web.Response(body=body, content_type="application/octet-stream", headers=headers)

    async def _pieces(self, call: Call, data: bytes) -> AsyncIterator[memoryview]:
        """All of it, for as long as it takes on its line; a certificate that is revoked meanwhile ends it.

        The connection is broken off: what waits in it is not sent, either.
        """
        for start in range(0, len(data), PIECE):
            if call.peer is None or self.refused(call.peer):
                if call.request.transport is not None:
                    call.request.transport.abort()
                raise ConnectionAbortedError
            yield memoryview(data)[start : start + PIECE]


def _wait_seconds(prefer: str) -> float:
    match = _WAIT.search(prefer)
    return float(min(int(match[1]), LONG_POLL_SECONDS)) if match else 0.0


def _document(view: View, identity: HubIdentity) -> web.Response:
    signature = identity.sign(view.body)
    headers = {"ETag": f'"{view.etag}"', SIGNATURE_HEADER: signature, "Cache-Control": "no-store"}
    return web.Response(body=view.body, content_type="application/json", headers=headers)


def _json(answer: WireModel, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=canonical_json(answer.wire()), content_type="application/json")
