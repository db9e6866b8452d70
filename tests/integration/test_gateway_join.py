"""Join, acceptance, renewal and revocation, over TLS and with a real API server behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
from cryptography import x509

from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION
from agent.contract.token import JoinToken
from agent.contract.wire import LONG_POLL_SECONDS
from agent.link.backoff import Backoff
from hub.gateway import paths, tokens
from hub.gateway.certificates import certificate_fingerprint
from hub.gateway.clusters import revoke
from hub.gateway.identity import HubIdentity
from tests.integration.gateway_rig import (
    BLOB,
    Rig,
    Spoke,
    client_of,
    decode,
    install,
    new_name,
    now,
    running,
    until_heard,
    until_refused,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def rig(api_server: ControlPlane) -> AsyncIterator[Rig]:
    async with running(api_server) as rig:
        yield rig


def spoke_of(rig: Rig, name: str) -> Spoke:
    return Spoke(name, rig.gateway.url, rig.identity.ca_pem)


async def test_of_two_hubs_that_start_at_once_both_have_one_identity(api_server: ControlPlane) -> None:
    async with client_of(api_server) as client:
        await install(client)
        both = await asyncio.gather(*(HubIdentity.load_or_create(client, now=now()) for _ in range(4)))
    assert len({identity.hub_id for identity in both}) == 1
    assert len({identity.ca_hash for identity in both}) == 1


async def test_the_ca_is_told_to_anyone_and_fits_the_token(rig: Rig) -> None:
    token = JoinToken.parse(await rig.token(new_name()))
    status, pem, _ = await spoke_of(rig, "x").call("GET", "/agent/v1/ca")
    assert status == 200
    assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest() == token.ca
    assert token.hub == rig.identity.hub_id


async def test_a_token_with_auto_accept_gives_a_certificate_and_a_cluster(rig: Rig) -> None:
    name = new_name()
    spoke = spoke_of(rig, name)
    token = await rig.token(name, auto_accept=True, labels={"env": "prod"}, allow_labels=("region",))
    status, answer, _ = await spoke.join(token, labels={"env": "dev", "region": "eu", "tier": "gold"})
    assert status == 201
    assert answer["hubId"] == rig.identity.hub_id
    assert answer["signingKeys"] == rig.identity.public_keys
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [each.value for each in san] == [f"axletree://cluster/{name}"]
    cluster = await rig.client.get(paths.cluster(name))
    assert cluster["spec"]["accepted"] is True
    assert cluster["metadata"]["labels"] == {"env": "prod", "region": "eu"}
    assert cluster["status"]["sealingKey"] == spoke.sealing_key
    assert cluster["status"]["agent"]["kubernetesVersion"] == "v1.36.3"
    assert len(cluster["status"]["fingerprint"]) == 64
    spoke.use(answer["certificate"])
    await until_heard(spoke)


async def test_s2_the_same_token_and_key_get_the_same_answer_and_no_one_else(rig: Rig) -> None:
    name, other = new_name(), new_name()
    token = await rig.token(name, auto_accept=True)
    spoke = spoke_of(rig, name)
    _, first, _ = await spoke.join(token)
    status, again, _ = await spoke.join(token)
    assert (status, again) == (201, first)
    thief = spoke_of(rig, name)
    status, refused, _ = await thief.join(token)
    assert (status, refused["reason"]) == (403, "TokenRefused")
    spoke.cluster = other
    assert (await spoke.join(await rig.token(name, auto_accept=True)))[0] == 403
    with pytest.raises(ApiError, match="404"):
        await rig.client.get(paths.cluster(other))


async def test_s2_an_expired_or_forged_token_does_nothing(rig: Rig) -> None:
    name = new_name()
    spoke = spoke_of(rig, name)
    assert (await spoke.join(await rig.token(name, ttl=-1)))[0] == 403
    good = JoinToken.parse(await rig.token(name))
    forged = good.model_copy(update={"secret": "x" * 43}).encode()
    status, body, _ = await spoke.join(forged)
    assert (status, body["detail"]) == (403, "there is no such token")
    unknown = good.model_copy(update={"id": "0" * 12}).encode()
    status, body, _ = await spoke.join(unknown)
    assert (status, body["detail"]) == (403, "there is no such token")
    with pytest.raises(ApiError, match="404"):
        await rig.client.get(paths.cluster(name))


async def test_a_cluster_waits_until_someone_accepts_it(rig: Rig) -> None:
    name = new_name()
    spoke = spoke_of(rig, name)
    token = await rig.token(name)
    status, body, headers = await spoke.join(token)
    assert (status, body) == (202, {})
    assert int(headers["Retry-After"]) >= 1
    before = await rig.client.get(paths.cluster(name))
    assert before["spec"]["accepted"] is False
    assert (await spoke.join(token))[0] == 202
    assert (await rig.client.get(paths.cluster(name)))["metadata"]["resourceVersion"] == before["metadata"][
        "resourceVersion"
    ]
    await rig.client.merge_patch(paths.cluster(name), {"spec": {"accepted": True}})
    status, body, _ = await spoke.join(token)
    assert status == 201
    spoke.use(body["certificate"])
    await until_heard(spoke)


async def test_two_keys_at_once_with_one_token_give_one_certificate(rig: Rig) -> None:
    name = new_name()
    token = await rig.token(name, auto_accept=True)
    answers = await asyncio.gather(*(spoke_of(rig, name).join(token) for _ in range(3)))
    assert [status for status, _, _ in answers].count(201) == 1


async def test_bad_requests_name_the_field_and_never_the_token(rig: Rig) -> None:
    spoke = spoke_of(rig, "x")
    status, raw, headers = await spoke.call(
        "POST", "/agent/v1/join", json={"token": "axlt1.hidden", "cluster": "UPPER"}
    )
    assert status == 400
    assert headers["Content-Type"].startswith("application/problem+json")
    assert b"cluster" in raw
    assert b"hidden" not in raw


async def test_s3_a_revoked_certificate_is_cut_off_at_once_polls_too(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    await rig.assign(name, seq=1, apps={})
    status, _, headers = await spoke.assignment(wait=LONG_POLL_SECONDS)
    assert status == 200
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(spoke.assignment(etag=headers["ETag"], wait=LONG_POLL_SECONDS))
        # The poll is there once another one's wait was answered in full.
        assert (await spoke.assignment(etag=headers["ETag"], wait=1))[0] == 304
        await revoke(rig.client, name)
        async with asyncio.timeout(LONG_POLL_SECONDS - 10):  # long before its wait is over
            status, raw, _ = await poll
    assert status == 403
    assert b"CertificateRefused" in raw
    assert (await spoke.report())[0] == 403


async def test_s3_a_bundle_that_is_under_way_ends_with_a_revocation(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    await rig.assign(name, seq=1, apps={"shop/web": BLOB})
    data = rig.blobs.held[BLOB] = os.urandom(64 * 1024 * 1024)  # more than the buffers on its way hold
    try:
        async with asyncio.timeout(20):
            while (await spoke.assignment())[0] != 200:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        async with spoke.session() as session, session.get(f"/agent/v1/bundles/{BLOB}") as response:
            assert int(response.headers["Content-Length"]) == len(data)
            first = await response.content.readexactly(1024 * 1024)
            assert first == data[: len(first)]
            await revoke(rig.client, name)
            async with asyncio.timeout(30):
                while (await spoke.report())[0] != 403:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
            with pytest.raises(aiohttp.ClientError):
                await response.content.read()
    finally:
        del rig.blobs.held[BLOB]


async def test_s3_a_repeated_join_does_not_undo_a_revocation(rig: Rig) -> None:
    name = new_name()
    spoke = spoke_of(rig, name)
    token = await rig.token(name, auto_accept=True)
    _, first, _ = await spoke.join(token)
    spoke.use(first["certificate"])
    await revoke(rig.client, name)
    await until_refused(spoke)
    status, again, _ = await spoke.join(token)
    assert (status, again["certificate"]) == (201, first["certificate"])
    assert (await spoke.report())[0] == 403
    assert (await rig.client.get(paths.cluster(name)))["status"]["fingerprint"] == ""


async def test_a_renewed_certificate_takes_over_at_its_first_use(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    old = spoke.certificate
    for _ in range(2):  # an answer that was lost is asked for again
        status, raw, _ = await spoke.call("POST", "/agent/v1/renew", json={"csr": spoke.csr(), "counter": 0})
        assert status == 201
        assert (await spoke.report())[0] == 200
    spoke.use(decode(raw)["certificate"])
    await until_heard(spoke)
    spoke.use(old)
    await until_refused(spoke)


async def test_a_renewed_certificate_is_first_used_by_many_requests_at_once(rig: Rig) -> None:
    """An agent polls, reports and fetches side by side: one of them takes the renewal over, and none is refused."""
    spoke = await rig.joined(new_name())
    for counter in range(3):
        body = {"csr": spoke.csr(), "counter": counter}
        status, raw, _ = await spoke.call("POST", "/agent/v1/renew", json=body)
        assert status == 201
        spoke.use(decode(raw)["certificate"])
        answers = await asyncio.gather(*(spoke.assignment() for _ in range(8)))
        assert [status for status, _, _ in answers] == [404] * 8, "none is assigned, and nobody is refused"
    certificate = (await rig.client.get(paths.cluster(spoke.cluster)))["status"]["certificate"]
    assert certificate["renewals"] == 3


async def test_s3_a_revocation_takes_the_pending_renewal_with_it(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    _, raw, _ = await spoke.call("POST", "/agent/v1/renew", json={"csr": spoke.csr()})
    await revoke(rig.client, name)
    spoke.use(decode(raw)["certificate"])
    await until_refused(spoke)


async def test_f15_the_same_name_joins_again_by_a_new_token_only(rig: Rig) -> None:
    name = new_name()
    first = await rig.joined(name)
    second = await rig.joined(name)
    assert (await second.report())[0] == 200
    assert (await first.report())[0] == 403


async def test_a_certificate_of_another_authority_does_not_get_through_tls(rig: Rig) -> None:
    spoke = spoke_of(rig, "x")
    stranger = HubIdentity.create(now=now())
    spoke.use(stranger.issue_client(spoke.csr(), "x", now()))
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, OSError)):
        await spoke.report()


async def test_tokens_that_nobody_used_in_time_are_deleted(rig: Rig) -> None:
    dead = JoinToken.parse(await rig.token(new_name(), ttl=-1))
    alive = JoinToken.parse(await rig.token(new_name()))
    assert await tokens.delete_expired(rig.client, now=now()) >= 1
    await rig.client.get(paths.secret(tokens.secret_name(alive.id)))
    with pytest.raises(ApiError, match="404"):
        await rig.client.get(paths.secret(tokens.secret_name(dead.id)))


async def test_f30_agents_that_all_come_back_at_once_are_all_served(api_server: ControlPlane) -> None:
    """The bench does it with 5,000; here a hundred show that a full route sends nobody away for good."""
    count = 100
    async with running(api_server) as rig:
        spokes = [await rig.joined(new_name()) for _ in range(4)]
        # The rest have certificates as if they had joined: joining is not what this is about.
        for number in range(count - len(spokes)):
            spoke = Spoke(f"{spokes[0].cluster}-{number}", rig.gateway.url, rig.identity.ca_pem)
            spoke.key = spokes[0].key
            spoke.use(rig.identity.issue_client(spoke.csr(), spoke.cluster, now()))
            spokes.append(spoke)
        await asyncio.gather(*(_known(rig, spoke) for spoke in spokes[4:]))
    served: set[str] = set()

    async def back(spoke: Spoke, url: str) -> None:
        backoff = Backoff(base=0.2, cap=5.0)
        spoke.url = url
        while True:
            try:
                status, _ = await spoke.report(boot=spoke.cluster)
            except (aiohttp.ClientError, OSError):
                status = 0
            if status == 200:
                served.add(spoke.cluster)
                return
            await asyncio.sleep(backoff.next())

    async with running(api_server) as rig, asyncio.timeout(120):
        await asyncio.gather(*(back(spoke, rig.gateway.url) for spoke in spokes))
        assert len(served) == count
        assert all(rig.gateway.liveness.get(spoke.cluster) for spoke in spokes)
        for spoke in spokes:
            await rig.client.delete(paths.cluster(spoke.cluster))


async def _known(rig: Rig, spoke: Spoke) -> None:
    cluster = {"apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": spoke.cluster}}
    await rig.client.create(paths.CLUSTERS, cluster | {"spec": {"accepted": True}})
    status = {"fingerprint": certificate_fingerprint(spoke.certificate), "sealingKey": spoke.sealing_key}
    await rig.client.merge_patch(paths.cluster(spoke.cluster), {"status": status}, subresource="status")
