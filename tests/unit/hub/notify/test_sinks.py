from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat

from agent.contract.names import HUB_NAMESPACE, LABEL_CREDENTIALS
from hub.api.notification import Trigger
from hub.notify.errors import SinkAway, SinkInvalid, SinkRefused
from hub.notify.message import Message
from hub.notify.sinks import Sinks
from tests.unit.hub.notify.servers import receiver

if TYPE_CHECKING:
    from hub.notify.sinks import Sender

COMMIT = "c0ffee" * 6 + "abcd"


def secret(name: str, **data: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": HUB_NAMESPACE,
            "resourceVersion": "1",
            "labels": {LABEL_CREDENTIALS: "notification"},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def sender(session: aiohttp.ClientSession, **data: str) -> Sender:
    made = secret("it", **data)
    sinks = Sinks({f"{HUB_NAMESPACE}/it": made}.get, session, source="/axletree/hub-1")
    return sinks.sender("it")


def message(trigger: Trigger = Trigger.DEGRADED, **more: Any) -> Message:
    fields: dict[str, Any] = {
        "id": "abc123",
        "topic": "health",
        "kind": "Application",
        "namespace": "shop",
        "name": "web",
        "cluster": "eu1",
        "set": "shop",
        "health": "Degraded",
        "sync": "Synced",
        "reason": "Degraded",
        "message": "Deployment web: CrashLoopBackOff",
        "since": "2026-05-01T00:00:00Z",
        "at": "2026-05-01T00:01:00.000+00:00",
        "commits": (),
        "title": f"{trigger}: Application shop/web on eu1",
        "text": "Deployment web: CrashLoopBackOff",
    }
    return Message(trigger=trigger, **(fields | more))


async def test_a_cloudevent_arrives_as_the_specification_says() -> None:
    async with receiver(status=202) as sink, aiohttp.ClientSession() as session:
        await sender(session, type="cloudevents", url=f"{sink.url}/in", token="t0p").send(message())
        (taken,) = sink.taken
    assert taken.path == "/in"
    assert taken.headers["Authorization"] == "Bearer t0p"
    assert taken.headers["Content-Type"].startswith("application/cloudevents+json")
    body = json.dumps(taken.body).encode()
    event = from_structured(HTTPMessage(headers=dict(taken.headers), body=body), JSONFormat())
    assert event.get_id() == "abc123"
    assert event.get_type() == "dev.axletree.application.degraded.v1"
    assert event.get_source() == "/axletree/hub-1"
    assert event.get_subject() == "shop/web"
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["trigger"] == "Degraded"
    assert data["cluster"] == "eu1"
    assert data["message"] == "Deployment web: CrashLoopBackOff"


async def test_apprise_sends_to_what_its_address_names() -> None:
    async with receiver() as sink, aiohttp.ClientSession() as session:
        chat = sender(session, type="apprise", urls=sink.url.replace("http://", "json://") + "/hook")
        await chat.send(message(text="<b>{{ 7 * 7 }}</b>"))
        (taken,) = sink.taken
        sink.status = 500
        with pytest.raises(SinkAway):
            await chat.send(message())
    assert taken.body["title"] == "Degraded: Application shop/web on eu1"
    assert taken.body["message"] == "<b>{{ 7 * 7 }}</b>", "text, as it is"
    assert taken.body["type"] == "failure"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SinkInvalid) as caught:
            await sender(session, type="apprise", urls="nonsense://key@host").send(message())
    assert "key" not in str(caught.value)


def statuses(url: str, **more: Any) -> Message:
    commits = ((f"{url}/shop/apps.git", COMMIT), ("https://elsewhere.example.com/a/b", COMMIT))
    return message(**({"commits": commits} | more))


async def test_github_gets_a_status_a_commit() -> None:
    async with receiver(status=201) as host, aiohttp.ClientSession() as session:
        github = sender(session, type="github", url=host.url, token="ghp")
        await github.send(statuses(host.url))
        await github.send(statuses(host.url, trigger=Trigger.DEPLOYED, topic="deployment"))
        await github.send(statuses(host.url, trigger=Trigger.PROGRESSING, topic="deployment"))
        await github.send(statuses(host.url, trigger=Trigger.HELD, topic="held"))
    assert [each.path for each in host.taken] == [f"/repos/shop/apps/statuses/{COMMIT}"] * 3
    assert [each.body["state"] for each in host.taken] == ["failure", "success", "pending"]
    first = host.taken[0]
    assert first.body["context"] == "axletree/shop/web"
    assert first.body["description"] == "Deployment web: CrashLoopBackOff"
    assert first.headers["Authorization"] == "Bearer ghp"
    assert first.headers["Accept"] == "application/vnd.github+json"


async def test_gitlab_takes_a_step_to_the_same_state_as_done() -> None:
    async with receiver(status=201) as host, aiohttp.ClientSession() as session:
        gitlab = sender(session, type="gitlab", url=host.url, token="glpat", context="fleet")
        await gitlab.send(statuses(host.url, trigger=Trigger.PROGRESSING, topic="deployment"))
        (taken,) = host.taken
        assert taken.path == f"/api/v4/projects/shop%2Fapps/statuses/{COMMIT}"
        assert taken.body["state"] == "running"
        assert taken.body["name"] == "fleet/shop/web"
        assert taken.headers["PRIVATE-TOKEN"] == "glpat"
        host.status = 400
        host.body = {"message": "Cannot transition status via :run from :running (Reason(s): ...)"}
        await gitlab.send(statuses(host.url))
        host.body = {"message": "400 Bad request"}
        with pytest.raises(SinkRefused):
            await gitlab.send(statuses(host.url))


async def test_gitea_gets_a_status_below_its_own_path() -> None:
    async with receiver(status=201) as host, aiohttp.ClientSession() as session:
        gitea = sender(session, type="gitea", url=host.url, token="gt")
        await gitea.send(statuses(host.url, trigger=Trigger.RECOVERED))
    (taken,) = host.taken
    assert taken.path == f"/api/v1/repos/shop/apps/statuses/{COMMIT}"
    assert taken.body["state"] == "success"
    assert taken.headers["Authorization"] == "token gt"


async def test_s6_a_token_follows_no_redirect_and_is_in_no_error() -> None:
    async with receiver() as other, receiver(status=307) as sink, aiohttp.ClientSession() as session:
        sink.headers = {"Location": other.url}
        with pytest.raises(SinkRefused) as caught:
            await sender(session, type="cloudevents", url=f"{sink.url}/s3cret", token="t0p").send(message())
        assert not other.taken
    assert "t0p" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "error", "wait"),
    [
        (429, {"Retry-After": "7"}, SinkAway, 7.0),
        (403, {"Retry-After": "9"}, SinkAway, 9.0),
        (503, {}, SinkAway, None),
        (404, {}, SinkRefused, None),
        (410, {}, SinkRefused, None),
    ],
)
async def test_what_may_pass_is_tried_again(
    status: int, headers: dict[str, str], error: type[Exception], wait: float | None
) -> None:
    async with receiver(status=status, headers=headers) as sink, aiohttp.ClientSession() as session:
        with pytest.raises(error) as caught:
            await sender(session, type="cloudevents", url=sink.url).send(message())
    assert getattr(caught.value, "retry_after", None) == wait


@pytest.mark.parametrize(
    "data",
    [
        {"type": "smoke", "url": "https://a.example.com"},
        {"type": "cloudevents", "url": "ftp://a.example.com"},
        {"type": "cloudevents", "url": "https://user:word@a.example.com"},
        {"type": "cloudevents", "url": "https://a.example.com", "token": "a\r\nb"},
        {"type": "gitlab", "url": "https://a.example.com"},
        {"type": "gitea", "token": "x"},
    ],
)
async def test_a_secret_that_describes_no_sink_is_refused(data: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SinkInvalid) as caught:
            sender(session, **data)
    assert "word" not in str(caught.value)


async def test_only_secrets_of_the_hubs_own_namespace_are_sinks() -> None:
    mine = secret("ops", type="apprise", projects="shop-*, team")
    theirs = secret("theirs", type="apprise")
    theirs["metadata"]["namespace"] = "shop"
    other = secret("git", type="apprise")
    other["metadata"]["labels"] = {LABEL_CREDENTIALS: "git"}
    held = {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in (mine, theirs, other)
    }
    async with aiohttp.ClientSession() as session:
        sinks = Sinks(held.get, session, source="/x")
        ops = sinks.get("ops")
        assert ops is not None
        assert ops.allows("shop-eu")
        assert ops.allows("team")
        assert not ops.allows("bank")
        assert sinks.get("theirs") is None
        assert sinks.get("git") is None
    assert "apprise" not in repr(ops.data) or "data=" not in repr(ops)
