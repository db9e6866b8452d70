"""Who an agent is to its hub, over years: clones, revocations, rotations, removals, hubs that were lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.agent import Agent
from agent.config import AgentConfig
from agent.contract.health import SyncState
from agent.contract.token import JoinToken
from agent.link.identity import IdentityStore
from agent.link.join import _csr
from agent.link.secrets import SecretWriter
from hub.gateway import paths
from hub.gateway.clusters import revoke
from hub.gateway.identity import SECRET_NAME, HubIdentity, Recovery
from hub.gateway.peers import ANNOTATION_ROTATE
from hub.gateway.tokens import create_token
from tests.integration.agent_rig import SECONDS, AgentRig, agent_on, config_map, until
from tests.integration.gateway_rig import now, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.link.identity import Identity
    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster
BEAT = 0.3


@asynccontextmanager
async def fleet(server: ControlPlane) -> AsyncIterator[AgentRig]:
    async with agent_on(server, heartbeat_seconds=BEAT) as rig:
        await rig.joined()
        yield rig


@pytest.fixture
async def rig(own_server: ControlPlane) -> AsyncIterator[AgentRig]:
    async with fleet(own_server) as rig:
        yield rig


@asynccontextmanager
async def second(
    rig: AgentRig, *, token: str = "", token_file: Path | None = None, hub_url: str = ""
) -> AsyncIterator[Agent]:
    """Another agent process of the same cluster."""
    config = AgentConfig(
        cluster=rig.cluster,
        hub_url=hub_url or rig.rig.gateway.url,
        token=token or None,
        token_file=token_file,
        kubeconfig=rig.server.kubeconfig_path,
        heartbeat_seconds=BEAT,
    )
    agent = Agent(config)
    task = asyncio.create_task(agent.run())
    try:
        await until(lambda: agent.engine is not None or task.done(), "the second agent runs")
        yield agent
    finally:
        await agent.stop()
        await asyncio.gather(task, return_exceptions=True)


def halted(agent: Agent | None) -> str:
    assert agent is not None
    assert agent.engine is not None
    return agent.engine.halted


def identity_of(rig: AgentRig) -> Identity:
    assert rig.agent is not None
    assert rig.agent.identity is not None
    return rig.agent.identity


async def cluster_when(rig: AgentRig, holds: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(SECONDS):
            while not holds(found := await rig.live(paths.cluster(rig.cluster)) or {}):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"not in {SECONDS} s: {found}") from error
    return found


def status(cluster: dict[str, Any], name: str) -> Any:
    return (cluster.get("status") or {}).get(name)


def renewals(cluster: dict[str, Any]) -> Any:
    return (status(cluster, "certificate") or {}).get("renewals")


async def test_s4_f25_two_agents_with_one_identity_are_both_told_and_neither_deletes(
    own_server: ControlPlane,
) -> None:
    async with fleet(own_server) as rig:
        await rig.deploy("web", config_map("web", a="1"))
        await rig.when("web", sync=SyncState.SYNCED)
        rig.rig.gateway._intake._settled = 1.0
        async with second(rig) as clone:
            await until(lambda: bool(halted(rig.agent) and halted(clone)), "both are told")
            cluster = await cluster_when(rig, lambda found: status(found, "clone"))
            assert "two agent processes" in status(cluster, "clone")["message"]
            await rig.drop("web")
            await rig.when("web", check=lambda said: "until a person has decided" in said.message)
            assert await rig.live(rig.path("configmaps", "web")) is not None
        # A person has ended the second one, and says that it is settled.
        patch = {"status": {"clone": None}}
        await rig.client.merge_patch(paths.cluster(rig.cluster), patch, subresource="status")
        await rig.when("web", check=lambda said: said.deleted)
        assert await rig.live(rig.path("configmaps", "web")) is None
        assert not halted(rig.agent)


async def test_s4_a_copy_with_an_older_certificate_is_told_by_the_renewal(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    before = identity_of(rig)
    await rotate(rig)
    await until(lambda: identity_of(rig).renewals == 1, "renewed")
    cluster = await cluster_when(rig, lambda found: renewals(found) == 1)
    await rig.stop()
    await keep(rig, before)  # its cluster comes back from a backup of before
    earlier = (datetime.now(UTC) - timedelta(minutes=5)).isoformat(timespec="seconds")
    certificate = status(cluster, "certificate") | {"since": earlier, "joinedAt": earlier}
    await rig.client.merge_patch(
        paths.cluster(rig.cluster), {"status": {"certificate": certificate}}, subresource="status"
    )
    async with second(rig) as copy:
        await until(lambda: "CertificateSuperseded" in halted(copy), "the copy is told")
        cluster = await cluster_when(rig, lambda found: status(found, "clone"))
        assert "has renewed" in status(cluster, "clone")["message"]
        path = rig.path("configmaps", "web")
        await rig.client.merge_patch(path, {"data": {"a": "2"}})
        await rig.live_when(path, lambda obj: obj is not None and obj["data"] == {"a": "1"})


async def test_a_rotation_gives_new_keys_and_old_bundles_stay_readable(rig: AgentRig) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"p": "x"}}
    await rig.deploy("db", secret)
    await rig.when("db", sync=SyncState.SYNCED)
    before = identity_of(rig)
    cluster = await cluster_when(rig, lambda found: status(found, "fingerprint"))
    await rotate(rig)
    await until(lambda: identity_of(rig).certificate != before.certificate, "renewed")
    after = identity_of(rig)
    assert after.private_key != before.private_key
    assert after.sealing_public != before.sealing_public
    changed = await cluster_when(
        rig, lambda found: status(found, "fingerprint") != status(cluster, "fingerprint")
    )
    assert status(changed, "sealingKey") != status(cluster, "sealingKey")
    assert renewals(changed) == 1
    await rig.stop()
    async with second(
        rig, hub_url="https://127.0.0.1:1"
    ) as again:  # what is kept is sealed to the former key
        assert again.engine is not None
        engine = again.engine
        await until(lambda: engine.apps["shop/db"].sync is SyncState.SYNCED, "restored by the former key")


async def test_s3_a_revoked_agent_keeps_what_runs_and_comes_back_by_a_new_token(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    await revoke(rig.client, rig.cluster)
    await rig.stop()
    async with second(rig) as agent:
        link = agent._link
        assert link is not None
        await until(lambda: link._refused == "CertificateRefused", "refused")
        path = rig.path("configmaps", "web")
        await rig.client.merge_patch(path, {"data": {"a": "2"}})
        await rig.live_when(path, lambda obj: obj is not None and obj["data"] == {"a": "1"})
    token = await rig.rig.token(rig.cluster, auto_accept=True)
    async with second(rig, token=token) as agent:
        await cluster_when(rig, lambda found: status(found, "fingerprint"))
        await until(
            lambda: bool(agent.identity and agent.identity.token_id == token_id(token)), "joined again"
        )
        assert agent.engine is not None
        assert "shop/web" in agent.engine.apps


async def test_a_removed_clusters_agent_deletes_what_it_was_told_and_ends(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.drop("web", reason="ClusterRemoved")
    await rig.when("web", check=lambda said: said.deleted)
    for path in (paths.cluster(rig.cluster), f"{paths.ASSIGNMENTS}/{rig.cluster}"):
        await rig.client.delete(path)
    assert rig.task is not None
    async with asyncio.timeout(SECONDS):
        await rig.task  # with no failure
    async with second(rig) as again:  # started once more, by a supervisor for instance
        task = again._task
        assert task is not None
        async with asyncio.timeout(SECONDS):
            await asyncio.wait([task])
    token = await rig.rig.token(rig.cluster, auto_accept=True)
    async with second(rig, token=token) as back:
        assert back.identity is not None
        await until(lambda: bool(back.identity and back.identity.token_id == token_id(token)), "joined again")
        await rig.rig.lease_when(rig.cluster, connected="true")


async def test_f9_a_ca_and_keys_are_replaced_and_nobody_joins_again(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    before = identity_of(rig)
    await change(rig, lambda identity: identity.announced(now=now()))
    await until(lambda: identity_of(rig).keys == 1, "the next keys are known")
    assert identity_of(rig).ca.count("BEGIN CERTIFICATE") == 2
    await cluster_when(rig, lambda found: status(found, "agent")["keys"] == 1)
    await change(rig, lambda identity: identity.activated())
    await until(lambda: identity_of(rig).renewals == 1, "a certificate of the next CA")
    digest = await rig.deploy("web", config_map("web", a="2"))  # signed by the next key
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
    await change(rig, lambda identity: identity.finished())
    await until(lambda: identity_of(rig).keys == 2, "the former are forgotten")
    after = identity_of(rig)
    assert after.ca.count("BEGIN CERTIFICATE") == 1
    assert after.ca != before.ca
    assert after.signing_keys.keys().isdisjoint(before.signing_keys)
    digest = await rig.deploy("web", config_map("web", a="3"))
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)


async def test_f9_an_agent_that_was_away_meanwhile_follows_the_signed_keys(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.stop()
    await change(rig, lambda identity: identity.announced(now=now()))
    await change(rig, lambda identity: identity.activated())
    async with second(rig) as agent:  # what answers now shows a certificate of a CA that it has never seen
        await until(lambda: agent.identity is not None and agent.identity.renewals == 1, "renewed by it")
    await change(rig, lambda identity: identity.finished())


async def test_f9_a_ca_that_was_replaced_twice_meanwhile_is_followed_and_a_new_token_helps(
    rig: AgentRig, tmp_path: Path, caplog: Any
) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.stop()
    for _ in "ab":  # the agent is away for longer than the former CA is trusted
        await change(rig, lambda identity: identity.announced(now=now()))
        await change(rig, lambda identity: identity.activated())
        await change(rig, lambda identity: identity.finished())
    token_file = tmp_path / "token"
    token_file.write_text("")  # emptied once it was used
    async with (
        running(rig.server, inner=True) as restarted,  # and whoever starts now never knew that CA
        second(rig, token_file=token_file, hub_url=restarted.gateway.url) as agent,
    ):
        await until(lambda: "CertificateIssuerUnknown" in caplog.text, "it says what is wrong")
        assert agent.identity is not None
        assert agent.identity.keys == restarted.identity.generation
        path = rig.path("configmaps", "web")
        await rig.client.merge_patch(path, {"data": {"a": "2"}})
        await rig.live_when(path, lambda obj: obj is not None and obj["data"] == {"a": "1"})
        token = await restarted.token(rig.cluster, auto_accept=True)
        token_file.write_text("axlt1.cut")
        await until(lambda: "TokenInvalid" in caplog.text, "a token that is cut is told")
        token_file.write_text(token)
        await until(
            lambda: bool(agent.identity and agent.identity.token_id == token_id(token)), "joined again"
        )
        await restarted.lease_when(rig.cluster, connected="true")


async def test_f9_a_certificate_that_ended_is_told_and_a_new_token_helps(rig: AgentRig, caplog: Any) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    identity = identity_of(rig)
    await rig.stop()
    long_ago = now() - timedelta(days=100)  # the site was cut off for longer than a certificate lives
    ended = rig.rig.identity.issue_client(_csr(rig.cluster, identity.private_key), rig.cluster, long_ago)
    moment = (long_ago + timedelta(days=90)).timestamp()
    await keep(rig, replace(identity, certificate=ended, renew_at=moment, expires_at=moment))
    async with second(rig):
        await until(lambda: "CertificateExpired" in caplog.text, "it says so")
        path = rig.path("configmaps", "web")
        await rig.client.merge_patch(path, {"data": {"a": "2"}})
        await rig.live_when(path, lambda obj: obj is not None and obj["data"] == {"a": "1"})
    token = await rig.rig.token(rig.cluster, auto_accept=True)
    async with second(rig, token=token) as agent:
        await until(
            lambda: agent.identity is not None and agent.identity.certificate != ended, "joined again"
        )
        await rig.rig.lease_when(rig.cluster, connected="true")


async def test_f2_f47_another_hub_at_the_same_address_changes_nothing(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    stranger = HubIdentity.create(now=now())
    true = rig.rig.gateway._keyring.current
    rig.rig.gateway._keys_changed(stranger)  # another CA, other keys, at the very same port
    rig.rig.gateway._keyring.current = stranger
    before = identity_of(rig)
    await rig.stop()
    async with second(rig) as agent:
        link = agent._link
        assert link is not None
        await until(lambda: link._unverified, "it is seen")
        path = rig.path("configmaps", "web")
        await rig.client.merge_patch(path, {"data": {"a": "2"}})
        await rig.live_when(path, lambda obj: obj is not None and obj["data"] == {"a": "1"})
        assert agent.identity == before
        rig.rig.gateway._keyring.current = true
        rig.rig.gateway._keys_changed(true)
        await cluster_when(rig, lambda found: status(found, "fingerprint"))
        await until(lambda: not link._unverified, "the true hub is back")


async def test_f2_until_another_hub_has_accepted_an_agent_it_keeps_what_the_former_one_wanted(
    rig: AgentRig,
) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.stop()
    gateway, client = rig.rig.gateway, rig.rig.client
    true, other = gateway._keyring.current, HubIdentity.create(now=now())
    gateway._keyring.current = other  # another hub, at the same address
    gateway._keys_changed(other)
    token = await create_token(client, other, cluster=rig.cluster, ttl=timedelta(hours=1), now=now())
    await client.merge_patch(paths.cluster(rig.cluster), {"spec": {"accepted": False}})
    config = AgentConfig(
        cluster=rig.cluster,
        hub_url=gateway.url,
        token=token,
        kubeconfig=rig.server.kubeconfig_path,
        heartbeat_seconds=BEAT,
    )
    agent = Agent(config)
    task = asyncio.create_task(agent.run())
    try:
        path = rig.path("configmaps", "web")
        for value in ("2", "3"):
            await rig.client.merge_patch(path, {"data": {"a": value}})
            await rig.live_when(path, lambda obj: obj is not None and obj["data"] == {"a": "1"})
        assert agent.identity is None
        await client.merge_patch(paths.cluster(rig.cluster), {"spec": {"accepted": True}})
        await until(
            lambda: bool(agent.identity and agent.identity.hub_id == other.hub_id), "the other hub's agent"
        )
        assert agent.engine is not None
        assert agent.engine.apps == {}  # absence is no decision: what is there stays
        assert await rig.live(path) is not None
    finally:
        await agent.stop()
        await asyncio.gather(task, return_exceptions=True)
        gateway._keyring.current = true
        gateway._keys_changed(true)


async def test_f1_a_hub_made_anew_from_its_identity_alone_asks_a_person_and_deletes_nothing(
    rig: AgentRig,
) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    before = await rig.live(rig.path("configmaps", "web"))
    recovery = Recovery(at=now() + timedelta(seconds=1), backup=now() - timedelta(days=1))
    await change(rig, lambda identity: identity.recovered(recovery))
    for path in (f"{paths.ASSIGNMENTS}/{rig.cluster}", paths.cluster(rig.cluster)):
        await rig.client.delete(path)
    cluster = await cluster_when(rig, lambda found: found)
    assert cluster["spec"]["accepted"] is False
    await rig.client.merge_patch(paths.cluster(rig.cluster), {"spec": {"accepted": True}})
    cluster = await cluster_when(rig, lambda found: status(found, "fingerprint"))
    assert status(cluster, "sealingKey")
    rig.epoch += 1
    rig.seq = 0
    digest = await rig.deploy("other", config_map("other", a="1"))
    await rig.when("other", sync=SyncState.SYNCED, digest=digest)
    assert await rig.live(rig.path("configmaps", "web")) == before


async def test_f3_an_agent_that_renewed_after_the_backup_is_let_in_again(rig: AgentRig) -> None:
    cluster = await cluster_when(rig, lambda found: status(found, "fingerprint"))
    backup = now() - timedelta(seconds=1)
    earlier = (backup - timedelta(minutes=5)).isoformat(timespec="seconds")
    await rotate(rig)
    await until(lambda: identity_of(rig).renewals == 1, "renewed")
    await cluster_when(rig, lambda found: status(found, "fingerprint") != status(cluster, "fingerprint"))
    recovery = Recovery(at=now() + timedelta(seconds=1), backup=backup)
    await change(rig, lambda identity: identity.recovered(recovery))
    old = {
        "fingerprint": status(cluster, "fingerprint"),
        "certificate": status(cluster, "certificate") | {"joinedAt": earlier, "since": earlier},
    }
    await rig.client.merge_patch(paths.cluster(rig.cluster), {"status": old}, subresource="status")
    await cluster_when(rig, lambda found: status(found, "fingerprint") != status(cluster, "fingerprint"))


def token_id(token: str) -> str:
    return JoinToken.parse(token).id


async def rotate(rig: AgentRig) -> None:
    """As `axle cluster rotate` asks for it."""
    held = status(await cluster_when(rig, lambda found: status(found, "fingerprint")), "fingerprint")
    await rig.client.merge_patch(
        paths.cluster(rig.cluster), {"metadata": {"annotations": {ANNOTATION_ROTATE: held}}}
    )


async def keep(rig: AgentRig, identity: Identity) -> None:
    store = IdentityStore(SecretWriter(rig.client), rig.cluster)
    await store.save(replace(identity, next_key="", next_sealing=""))


async def change(rig: AgentRig, step: Any) -> None:
    """Write the hub's identity as a command would, and wait until the gateway has it."""
    path = paths.secret(SECRET_NAME)
    wanted = step(HubIdentity.from_secret(await rig.client.get(path)))
    await rig.client.replace(path, wanted.to_secret())
    gateway = rig.rig.gateway
    await until(lambda: gateway._keyring.current.to_secret() == wanted.to_secret(), "the gateway has it")
