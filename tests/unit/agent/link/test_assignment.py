from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.contract.signing import SignatureInvalid, sign
from agent.contract.wire import SIGNATURE_HEADER
from agent.link.assignment import (
    AssignmentForeign,
    AssignmentPoll,
    AssignmentStale,
    AssignmentUnreadable,
    SignedAssignment,
    believe,
)
from agent.link.identity import Identity, new_identity
from agent.link.session import HubSession, pinned_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATH = "/agent/v1/assignment"


@pytest.fixture
def identity(pki: Any) -> Identity:
    return replace(new_identity("eu-1", "uid"), hub_id="hub-1", ca=pki.ca, signing_keys=pki.signing_keys)


@pytest.fixture
async def session(hub: Any, pki: Any) -> AsyncIterator[HubSession]:
    session = HubSession(hub.url, pinned_context(pki.ca), user_agent="test")
    yield session
    await session.close()


def _signed(pki: Any, document: Any) -> tuple[bytes, str]:
    raw = json.dumps(document.wire()).encode()
    return raw, sign(raw, key_id="k1", key=pki.signing)


def test_order_is_epoch_then_seq(pki: Any, identity: Identity, document: Callable[..., Any]) -> None:
    held = SignedAssignment(document(7, epoch=2), b"", "")
    assert believe(*_signed(pki, document(8, epoch=2)), identity=identity, held=held).order == (2, 8)
    assert believe(*_signed(pki, document(1, epoch=3)), identity=identity, held=held).order == (3, 1)
    assert believe(*_signed(pki, document(7, epoch=2)), identity=identity, held=held).order == (2, 7)


@pytest.mark.parametrize("older", [{"seq": 6, "epoch": 2}, {"seq": 99, "epoch": 1}])
def test_f3_a_restored_hub_is_ignored(
    pki: Any, identity: Identity, document: Callable[..., Any], older: dict[str, int]
) -> None:
    held = SignedAssignment(document(7, epoch=2), b"", "")
    with pytest.raises(AssignmentStale):
        believe(*_signed(pki, document(**older)), identity=identity, held=held)


def test_f4_another_document_with_the_same_number_is_ignored(
    pki: Any, identity: Identity, document: Callable[..., Any]
) -> None:
    app = {"app": "shop/web", "digest": "a" * 64, "blob": "b" * 64, "release": 1}
    held = SignedAssignment(document(7, apps=[app]), b"", "")
    with pytest.raises(AssignmentStale):
        believe(*_signed(pki, document(7)), identity=identity, held=held)


def test_s1_another_cluster_or_hub_is_ignored(
    pki: Any, identity: Identity, document: Callable[..., Any]
) -> None:
    for change in ({"cluster": "eu-1-b"}, {"hub_id": "hub-2"}):
        with pytest.raises(AssignmentForeign):
            believe(*_signed(pki, document(1, **change)), identity=identity, held=None)


def test_one_changed_byte_breaks_the_signature(
    pki: Any, identity: Identity, document: Callable[..., Any]
) -> None:
    raw, signature = _signed(pki, document(1))
    with pytest.raises(SignatureInvalid):
        believe(raw + b" ", signature, identity=identity, held=None)
    with pytest.raises(SignatureInvalid):
        believe(raw, "", identity=identity, held=None)
    with pytest.raises(AssignmentUnreadable):
        believe(b"[]", sign(b"[]", key_id="k1", key=pki.signing), identity=identity, held=None)


async def test_f5_to_f8_anything_but_a_signed_document_changes_nothing(
    hub: Any, pki: Any, identity: Identity, session: HubSession, document: Callable[..., Any]
) -> None:
    good = hub.assigned(document(2), ETag='"2"')
    cut = web.Response(body=good.body[:-5], headers={SIGNATURE_HEADER: good.headers[SIGNATURE_HEADER]})
    answers = [
        web.Response(status=404),
        web.Response(text="<html>sign in</html>", content_type="text/html"),
        web.Response(text=""),
        web.json_response([]),
        cut,
        web.Response(status=304),
        web.Response(status=302, headers={"Location": "/elsewhere"}),
        web.Response(status=503, headers={"Retry-After": "0"}),
        good,
    ]

    async def answer(_: web.Request) -> web.Response:
        return answers.pop(0)

    hub.routes[PATH] = answer
    poll = AssignmentPoll(session, identity, None)
    poll._backoff._base = 0.001
    newer = await asyncio.wait_for(poll.next(), 60)
    assert newer.order == (1, 2)
    assert sum(poll.refused.values()) == 8


async def test_an_unmodified_assignment_waits_with_its_etag(
    hub: Any, identity: Identity, session: HubSession, document: Callable[..., Any]
) -> None:
    gate = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("If-None-Match") == '"1"':
            await gate.wait()
            return hub.assigned(document(2), ETag='"2"')  # type: ignore[no-any-return]
        return hub.assigned(document(1), ETag='"1"')  # type: ignore[no-any-return]

    hub.routes[PATH] = answer
    poll = AssignmentPoll(session, identity, None)
    first = await poll.next()
    assert first.etag == '"1"'
    waiting = asyncio.create_task(poll.next())
    while len(hub.seen) < 2:  # noqa: ASYNC110 - the fake hub tells by a list
        await asyncio.sleep(0)
    assert hub.seen[1][2]["Prefer"] == "wait=55"
    gate.set()
    assert (await waiting).order == (1, 2)


async def test_who_asks_again_after_no_answer_says_so_and_not_after_one_that_is_older(
    hub: Any, identity: Identity, session: HubSession, document: Callable[..., Any]
) -> None:
    """What was said to a hub that went may be lost: it is told at once who is there, not at the next heartbeat."""
    answers = [web.Response(status=503), hub.assigned(document(4)), hub.assigned(document(6))]
    returned: list[int] = []

    async def answer(_: web.Request) -> web.StreamResponse:
        return answers.pop(0)  # type: ignore[no-any-return]

    hub.routes[PATH] = answer
    held = SignedAssignment(document(5), b"", "")
    poll = AssignmentPoll(session, identity, held, returning=lambda: returned.append(len(answers)))
    poll._backoff._base = 0.001
    assert (await asyncio.wait_for(poll.next(), 60)).order == (1, 6)
    assert returned == [2], "once, before it asks again"


async def test_what_is_held_is_not_given_again(
    hub: Any, identity: Identity, session: HubSession, document: Callable[..., Any]
) -> None:
    answers = [document(5), document(4), document(6)]

    async def answer(_: web.Request) -> web.StreamResponse:
        return hub.assigned(answers.pop(0))  # type: ignore[no-any-return]

    hub.routes[PATH] = answer
    poll = AssignmentPoll(session, identity, SignedAssignment(document(5), b"", ""))
    poll._backoff._base = 0.001
    assert (await asyncio.wait_for(poll.next(), 60)).order == (1, 6)
    assert poll.refused == {"AssignmentStale": 1}
