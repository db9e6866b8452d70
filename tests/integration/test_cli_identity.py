"""`axle token|cluster|hub` about who is who: over a real API server, with a gateway and an agent where it takes one."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent.contract.health import SyncState
from agent.contract.names import API_VERSION, HUB_NAMESPACE
from agent.contract.token import JoinToken
from agent.contract.wire import TombstoneReason
from hub.cli.main import app
from hub.fleet.backup import Backup, BackupInvalid
from hub.fleet.local import LocalFleet
from hub.fleet.names import HUB
from hub.fleet.process import spawn
from hub.gateway import paths
from hub.gateway.identity import SECRET_NAME, HubIdentity, Stage
from tests.integration.agent_rig import AgentRig, agent_on, config_map, until
from tests.integration.gateway_rig import Rig, Spoke, client_of, install, new_name, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from typer.testing import Result

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def agent(own_server: ControlPlane) -> AsyncIterator[AgentRig]:
    async with agent_on(own_server, heartbeat_seconds=0.3) as rig:
        await rig.joined()
        yield rig


@pytest.fixture
async def rig(own_server: ControlPlane) -> AsyncIterator[Rig]:
    async with running(own_server) as rig:
        yield rig


async def axle(server: ControlPlane, *arguments: str) -> Result:
    """A command, in a thread: each runs a loop of its own."""
    env = {"AXLETREE_KUBECONFIG": str(server.kubeconfig_path), "COLUMNS": "200"}
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=env)


async def test_a_token_for_labels_lets_one_new_cluster_in_and_no_known_one(
    rig: Rig, own_server: ControlPlane
) -> None:
    made = await axle(own_server, "token", "create", "--match", "env=edge", "--auto-accept")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert JoinToken.parse(token).cluster == ""

    def spoke(name: str) -> Spoke:
        return Spoke(name, rig.gateway.url, rig.identity.ca_pem)

    other = spoke(new_name())
    status, answer, _ = await other.join(token, labels={"env": "prod"})
    assert (status, answer["reason"]) == (403, "TokenRefused")
    known = await rig.joined(new_name())
    thief = spoke(known.cluster)
    status, answer, _ = await thief.join(token, labels={"env": "edge"})
    assert (status, answer["reason"]) == (403, "TokenRefused")
    edge = spoke(new_name())
    status, _, _ = await edge.join(token, labels={"env": "edge"})
    assert status == 201
    cluster = await rig.client.get(paths.cluster(edge.cluster))
    assert cluster["metadata"]["labels"] == {"env": "edge"}
    again = spoke(new_name())
    assert (await again.join(token, labels={"env": "edge"}))[0] == 403
    name, labels = new_name(), {"env": "lab"}  # two that say of themselves that they are the same
    first, late = spoke(name), spoke(name)
    first_token, late_token = [await rig.token("", match=labels) for _ in "ab"]
    assert (await first.join(first_token, labels=labels, clusterUid="uid-1"))[0] == 202
    status, answer, _ = await late.join(late_token, labels=labels, clusterUid="uid-2")
    assert (status, answer["reason"]) == (403, "TokenRefused")
    asked = await rig.client.merge_patch(paths.cluster(name), {"spec": {"accepted": True}})
    assert asked["status"]["agent"]["clusterUid"] == "uid-1"  # what the person saw who accepted it
    status, answer, _ = await first.join(first_token, labels=labels, clusterUid="uid-1")
    assert status == 201
    first.use(answer["certificate"])
    assert (await first.join(first_token, labels=labels, clusterUid="uid-1"))[1] == answer
    assert (await late.join(late_token, labels=labels, clusterUid="uid-2"))[0] == 403
    assert (await first.report())[0] == 200
    for wrong in ((), ("eu1", "--match", "a=b")):
        refused = await axle(own_server, "token", "create", *wrong)
        assert refused.exit_code == 2
        assert "InvalidToken" in refused.output


async def test_a_cluster_is_joined_revoked_and_accepted_by_commands(
    rig: Rig, own_server: ControlPlane
) -> None:
    name = new_name()
    said = await axle(own_server, "cluster", "join", name, "--hub", rig.gateway.url)
    assert said.exit_code == 0, said.output
    line = next(each for each in said.stdout.splitlines() if each.startswith("axle agent install"))
    words = line.split()
    assert words[words.index("--hub") + 1] == rig.gateway.url
    token = words[words.index("--token") + 1]
    spoke = Spoke(name, rig.gateway.url, rig.identity.ca_pem)
    assert (await spoke.join(token))[0] == 202
    accepted = await axle(own_server, "cluster", "accept", name)
    assert "is accepted" in accepted.output
    status, answer, _ = await spoke.join(token)
    assert status == 201
    spoke.use(answer["certificate"])
    assert (await spoke.report())[0] == 200
    revoked = await axle(own_server, "cluster", "revoke", name, "--yes")
    assert revoked.exit_code == 0, revoked.output
    async with asyncio.timeout(60):
        while (await spoke.report())[0] != 403:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    assert "no certificate" in (await axle(own_server, "cluster", "revoke", name, "--yes")).output


async def test_s4_a_person_sees_a_clone_and_says_that_it_is_settled(
    rig: Rig, own_server: ControlPlane
) -> None:
    spoke = await rig.joined(new_name())
    await spoke.report()
    await rig.lease_when(spoke.cluster, connected="true")
    clone = {"since": "2026-01-01T00:00:00Z", "message": "two"}
    path = paths.cluster(spoke.cluster)
    await rig.client.merge_patch(path, {"status": {"clone": clone}}, subresource="status")
    shown = await axle(own_server, "get", "clusters")
    assert any(spoke.cluster in line and "Cloned" in line for line in shown.output.splitlines()), shown.output
    async with asyncio.timeout(60):
        while (await spoke.report())[1].get("standing") != "Cloned":  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    settled = await axle(own_server, "cluster", "accept", spoke.cluster)
    assert "one agent again" in settled.output
    assert "clone" not in (await rig.client.get(path))["status"]


async def test_a_clusters_keys_are_rotated_by_a_command(agent: AgentRig, own_server: ControlPlane) -> None:
    before = agent.agent.identity if agent.agent else None
    done = await axle(own_server, "cluster", "rotate", agent.cluster, "--timeout", "3m")
    assert done.exit_code == 0, done.output
    assert before is not None
    key = before.private_key
    await until(
        lambda: bool(agent.agent and agent.agent.identity and agent.agent.identity.private_key != key),
        "the agent has its new key",
    )


async def test_the_hubs_keys_are_rotated_by_a_command_which_waits_for_who_is_away(
    agent: AgentRig, own_server: ControlPlane
) -> None:
    async def identity() -> HubIdentity:
        return HubIdentity.from_secret(await agent.client.get(paths.secret(SECRET_NAME)))

    first = await identity()
    others = (await agent.client.list(paths.CLUSTERS)).items
    for other in others:
        if other["metadata"]["name"] != agent.cluster:
            await agent.client.delete(paths.cluster(other["metadata"]["name"]))
    await agent.stop()
    waiting = await axle(own_server, "hub", "rotate", "--timeout", "1s")
    assert waiting.exit_code == 1
    assert agent.cluster in waiting.output
    assert (await identity()).stage is Stage.ANNOUNCED
    await agent.start(heartbeat_seconds=0.3)
    done = await axle(own_server, "hub", "rotate", "--timeout", "3m")
    assert done.exit_code == 0, done.output
    after = await identity()
    assert after.stage is Stage.IDLE
    assert after.ca_hash != first.ca_hash
    assert after.active != first.active
    await until(
        lambda: bool(agent.agent and agent.agent.identity and agent.agent.identity.keys == 2), "known"
    )


async def test_f1_f3_a_lost_hub_is_recovered_elsewhere_and_nothing_is_deleted_on_the_spoke(
    agent: AgentRig, own_server: ControlPlane, api_server: ControlPlane, tmp_path: Path
) -> None:
    """The backup is older than what the agent holds, and holds a decision that was taken back since."""
    await agent.deploy("web", config_map("web", a="1"))
    await agent.when("web", sync=SyncState.SYNCED)
    stone = {"app": "shop/web", "reason": TombstoneReason.DROPPED, "decidedAt": "2026-01-01T00:00:00Z"}
    assignment = f"{paths.ASSIGNMENTS}/{agent.cluster}"
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    await agent.stop()  # it does not hear of what follows
    await agent.client.merge_patch(assignment, {"spec": {"tombstones": [stone]}})
    file = tmp_path / "hub.backup"
    saved = await axle(own_server, "hub", "backup", "-o", str(file), "--passphrase-file", str(passphrase))
    assert saved.exit_code == 0, saved.output
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupInvalid, match="encrypted"):
        Backup.load(file.read_bytes())
    held = Backup.load(file.read_bytes(), "correct horse")
    assert all(not each["spec"]["tombstones"] for each in held.items if each["kind"] == "Assignment")
    live = await agent.live(agent.path("configmaps", "web"))

    async with client_of(api_server) as client:
        await install(client)
        await _empty(client)
        recovered = await axle(
            api_server, "hub", "recover", str(file), "--yes", "--passphrase-file", str(passphrase)
        )
        assert recovered.exit_code == 0, recovered.output
        identity = HubIdentity.from_secret(await client.get(paths.secret(SECRET_NAME)))
        assert identity.hub_id == held.hub_id
        assert identity.epoch == held.identity.epoch + 1
        cluster = await client.get(paths.cluster(agent.cluster))
        assert cluster["status"]["fingerprint"]
        again = await axle(
            api_server, "hub", "recover", str(file), "--yes", "--passphrase-file", str(passphrase)
        )
        assert f"epoch {identity.epoch + 1}" in again.output
    async with running(api_server) as elsewhere:
        spec = (await elsewhere.client.get(assignment))["spec"]
        assert [each["app"] for each in spec["apps"]] == ["shop/web"]
        await agent.start(hub_url=elsewhere.gateway.url, heartbeat_seconds=0.3)
        await elsewhere.lease_when(agent.cluster, connected="true")
        await agent.when("web", sync=SyncState.SYNCED)
        assert await agent.live(agent.path("configmaps", "web")) == live
        await agent.stop()
        await _empty(elsewhere.client)


async def test_nobody_recovers_a_hub_that_runs(own_server: ControlPlane) -> None:
    async with client_of(own_server) as client:
        await install(client)
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "axletree-controller", "namespace": HUB_NAMESPACE},
            "spec": {"holderIdentity": "hub-1", "renewTime": moment, "leaseDurationSeconds": 60},
        }
        path = paths.lease("axletree-controller")
        await client.apply(path, lease, field_manager="tests", force=True)
        refused = await axle(own_server, "hub", "recover", "--yes")
        assert refused.exit_code == 2
        assert "HubRuns" in refused.output
        await client.delete(path)


async def test_a_local_hub_that_crashed_gives_its_lease_back_and_no_other_one(
    own_server: ControlPlane, tmp_path: Path
) -> None:
    local = LocalFleet(tmp_path)
    crashed = spawn(HUB, ["true"], folder=local.services.folder)
    async with client_of(own_server) as client:
        await install(client)
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        path = paths.lease("axletree-controller")

        async def left(holder: str) -> str:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "axletree-controller", "namespace": HUB_NAMESPACE},
                "spec": {"holderIdentity": holder, "renewTime": moment, "leaseDurationSeconds": 60},
            }
            await client.apply(path, lease, field_manager="tests", force=True)
            await local._give_back(client)
            return str((await client.get(path))["spec"].get("holderIdentity") or "")

        await until(lambda: not crashed.alive(), "it has ended")
        assert await left(f"{socket.gethostname()}-{crashed.identity.pid}") == ""
        assert await left(f"elsewhere-{crashed.identity.pid}") == f"elsewhere-{crashed.identity.pid}"
        await client.delete(path)


async def test_f3_a_hub_whose_server_went_back_is_recovered_in_place(own_server: ControlPlane) -> None:
    async with client_of(own_server) as client:
        await install(client)
        await HubIdentity.load_or_create(client, now=datetime.now(UTC))
        before = HubIdentity.from_secret(await client.get(paths.secret(SECRET_NAME)))
        stone = {"app": "shop/web", "reason": "Dropped", "decidedAt": "2026-01-01T00:00:00Z"}
        assignment = {
            "apiVersion": API_VERSION,
            "kind": "Assignment",
            "metadata": {"name": "behind", "namespace": HUB_NAMESPACE},
            "spec": {"epoch": 1, "seq": 4, "apps": [], "tombstones": [stone]},
        }
        path = f"{paths.ASSIGNMENTS}/behind"
        await client.apply(path, assignment, field_manager="tests", force=True)
        done = await axle(own_server, "hub", "recover", "--yes")
        assert done.exit_code == 0, done.output
        after = HubIdentity.from_secret(await client.get(paths.secret(SECRET_NAME)))
        assert after.epoch == before.epoch + 1
        assert after.recovery is not None
        assert after.recovery.at - after.recovery.backup < timedelta(days=2)
        assert (await client.get(path))["spec"]["tombstones"] == []
        await client.delete(path)


async def _empty(client: Any) -> None:
    """No hub was ever here."""
    for path in (paths.CLUSTERS, paths.ASSIGNMENTS):
        for obj in (await client.list(path)).items:
            await client.delete(f"{path}/{obj['metadata']['name']}")
    for secret in (await client.list(paths.SECRETS)).items:
        await client.delete(paths.secret(secret["metadata"]["name"]))
    assert json.dumps((await client.list(paths.CLUSTERS)).items) == "[]"
