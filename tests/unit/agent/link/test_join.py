from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.config import AgentConfig
from agent.link.identity import Identity, IdentityCorrupt, new_identity
from agent.link.join import Facts, HubNotTrusted, JoinPending, join, renew
from agent.link.session import HubRefused, HubSession, HubUnreachable, client_context

if TYPE_CHECKING:
    from collections.abc import Callable


def _config(hub: Any, **change: Any) -> AgentConfig:
    return AgentConfig(**{"cluster": "eu-1", "hub_url": hub.url, **change})


async def test_join_gives_a_certificate_for_our_key_and_cluster(hub: Any, pki: Any) -> None:
    identity = new_identity("eu-1", "uid-1")
    joined = await join(_config(hub), pki.token(), identity, Facts(agent_version="1", labels={"env": "prod"}))
    assert joined.joined
    assert joined.hub_id == "hub-1"
    assert joined.signing_keys == pki.signing_keys
    assert pki.now.timestamp() < joined.renew_at < pki.now.timestamp() + 86400
    body = json.loads(next(body for _, path, _, body in hub.seen if path == "/agent/v1/join"))
    assert body["cluster"] == "eu-1"
    assert body["clusterUid"] == "uid-1"
    assert body["labels"] == {"env": "prod"}
    assert Identity.load(joined.dump()) == joined


async def test_s5_a_hub_with_another_ca_never_sees_the_token(hub: Any, pki: Any) -> None:
    token = pki.token(ca="0" * 64)
    with pytest.raises(HubNotTrusted):
        await join(_config(hub), token, new_identity("eu-1", "uid"), Facts())
    assert [path for _, path, _, _ in hub.seen] == ["/agent/v1/ca"]


async def test_s5_a_server_that_only_copies_the_ca_never_sees_the_token(
    hub: Any, pki: Any, tmp_path: Any
) -> None:
    other = type(pki)(tmp_path)
    other.ca, served = pki.ca, other  # it shows the true CA, and a certificate of its own
    app = web.Application()
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text=pki.ca)

    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=served.context).start()
    config = AgentConfig(cluster="eu-1", hub_url=f"https://127.0.0.1:{runner.addresses[0][1]}")
    with pytest.raises(HubUnreachable, match="certificate verify failed"):
        await join(config, pki.token(), new_identity("eu-1", "uid"), Facts())
    assert seen == ["/agent/v1/ca"]
    await runner.cleanup()


async def test_s5_a_ca_that_was_given_makes_no_untrusting_contact_and_must_be_the_tokens(
    hub: Any, pki: Any, tmp_path: Any
) -> None:
    file = tmp_path / "hub-ca.pem"
    config = AgentConfig(cluster="eu-1", hub_url=hub.url, ca_file=file)
    file.write_text(pki.ca)
    assert (await join(config, pki.token(), new_identity("eu-1", "uid-1"), Facts())).joined
    assert [path for _, path, _, _ in hub.seen] == ["/agent/v1/join"]
    with pytest.raises(HubNotTrusted, match="in the CA file"):
        await join(config, pki.token(ca="0" * 64), new_identity("eu-1", "uid-1"), Facts())


async def test_f7_a_portal_in_place_of_the_ca(hub: Any, pki: Any) -> None:
    async def portal(_: web.Request) -> web.Response:
        return web.Response(text="<html>sign in</html>", content_type="text/html")

    hub.routes["/agent/v1/ca"] = portal
    with pytest.raises(HubNotTrusted):
        await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())


async def test_pending_join_says_when_to_ask_again(hub: Any, pki: Any) -> None:
    async def pending(_: web.Request) -> web.Response:
        return web.Response(status=202, headers={"Retry-After": "7"})

    hub.routes["/agent/v1/join"] = pending
    with pytest.raises(JoinPending) as caught:
        await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda a, pki: a | {"hubId": "hub-2"}, HubNotTrusted),
        (lambda a, pki: {"certificate": "x"}, HubUnreachable),
        (lambda a, pki: a | {"certificate": pki.ca}, HubUnreachable),
    ],
)
async def test_an_answer_that_does_not_fit_is_refused(
    hub: Any, pki: Any, change: Callable[..., dict[str, Any]], error: type[Exception]
) -> None:
    true_join = hub.routes["/agent/v1/join"]

    async def tampered(request: web.Request) -> web.Response:
        answer = json.loads((await true_join(request)).body)
        return web.json_response(change(answer, pki), status=201)

    hub.routes["/agent/v1/join"] = tampered
    with pytest.raises(error):
        await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())


async def test_a_certificate_for_another_cluster_is_refused(hub: Any, pki: Any) -> None:
    async def other(request: web.Request) -> web.Response:
        body = await request.json()
        answer = {"certificate": pki.issue(body["csr"], "eu-1-b"), "ca": pki.ca}
        return web.json_response(answer | {"hubId": "hub-1", "signingKeys": pki.signing_keys}, status=201)

    hub.routes["/agent/v1/join"] = other
    with pytest.raises(HubNotTrusted):
        await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())


async def test_refusal_keeps_its_status(hub: Any, pki: Any) -> None:
    async def no(_: web.Request) -> web.Response:
        return web.Response(status=403)

    hub.routes["/agent/v1/join"] = no
    with pytest.raises(HubRefused) as caught:
        await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())
    assert caught.value.status == 403


async def test_renewal_keeps_keys_and_counts(hub: Any, pki: Any) -> None:
    joined = await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        assert request.transport is not None
        assert request.transport.get_extra_info("peercert")  # it came with the old certificate
        assert body["counter"] == 0
        new = {"certificate": pki.issue(body["csr"], "eu-1"), "ca": pki.ca}
        return web.json_response(new | {"hubId": "hub-1", "signingKeys": pki.signing_keys})

    hub.routes["/agent/v1/renew"] = answer
    session = HubSession(hub.url, client_context(joined), user_agent="test")
    renewed = await renew(session, joined)
    await session.close()
    assert renewed.renewals == 1
    assert renewed.certificate != joined.certificate
    assert renewed.private_key == joined.private_key


async def test_s5_redirects_are_not_followed(hub: Any, pki: Any) -> None:
    async def away(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "https://127.0.0.1:1/agent/v1/join"})

    hub.routes["/agent/v1/join"] = away
    with pytest.raises(HubRefused):
        await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())


@pytest.mark.parametrize(
    "broken",
    [
        {"certificate": "none"},
        {"ca": ""},
        {"private_key": new_identity("eu-1", "uid").private_key},
        {"renew_at": "soon"},
        {"sealing_key": ""},
        {"sealing_public": base64.b64encode(bytes(32)).decode()},
        {"sealing_old": ["!"]},
        {"signing_keys": None},
        None,
    ],
)
async def test_f24_a_corrupt_identity_is_an_error_and_not_a_new_agent(
    hub: Any, pki: Any, broken: dict[str, Any] | None
) -> None:
    joined = await join(_config(hub), pki.token(), new_identity("eu-1", "uid"), Facts())
    assert Identity.load(joined.dump()) == joined
    data = json.dumps(json.loads(joined.dump()) | broken) if broken is not None else "{}"
    with pytest.raises(IdentityCorrupt, match="a new token"):
        Identity.load(data.encode())
    assert "PRIVATE" not in repr(new_identity("eu-1", "uid"))
