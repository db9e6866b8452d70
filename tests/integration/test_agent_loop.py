"""The whole agent against a real gateway and a real API server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.contract.health import HealthState, SyncState
from agent.contract.names import APPLYSET_PART_OF, inventory_name
from agent.link.identity import IdentityStore
from agent.link.secrets import SecretWriter
from tests.integration.agent_rig import AgentRig, agent_on, config_map, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def rig(api_server: ControlPlane) -> AsyncIterator[AgentRig]:
    async with agent_on(api_server) as rig:
        yield rig


async def test_an_assigned_app_is_applied_and_reported_to_the_hub(rig: AgentRig) -> None:
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await rig.rig.client.apply("/api/v1/namespaces/shop", shop, field_manager="tests")
    await rig.rig.application("shop/first", rig.cluster)
    digest = await rig.deploy("first", config_map("web", color="blue"))
    said = await rig.when("first", sync=SyncState.SYNCED, health=HealthState.HEALTHY, digest=digest)
    assert said.counts == {"Healthy": 1}
    live = await rig.live(rig.path("configmaps", "web"))
    assert live is not None
    assert live["data"] == {"color": "blue"}
    assert APPLYSET_PART_OF in live["metadata"]["labels"]
    await rig.rig.observed_when("shop/first", sync="Synced", health="Healthy", digest=digest, release=1)


async def test_a_new_release_changes_and_prunes(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("one", a="1"), config_map("two", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    digest = await rig.deploy("web", config_map("one", a="2"))
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
    one = await rig.live(rig.path("configmaps", "one"))
    assert one is not None
    assert one["data"] == {"a": "2"}
    assert await rig.live(rig.path("configmaps", "two")) is None


async def test_drift_is_corrected_and_told(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", color="blue"))
    await rig.when("web", sync=SyncState.SYNCED)
    path = rig.path("configmaps", "web")
    await rig.client.merge_patch(path, {"data": {"color": "red", "other": "theirs"}})
    live = await rig.live_when(path, lambda obj: obj is not None and obj["data"]["color"] == "blue")
    assert live is not None
    assert live["data"] == {"color": "blue", "other": "theirs"}  # a field of others is left alone
    said = await rig.when("web", check=lambda said: bool(said.drift))
    assert said.drift[0].corrected
    assert said.drift[0].paths == [".data.color"]
    await rig.client.delete(path)
    await rig.live_when(path, lambda obj: obj is not None)


async def test_s9_secret_values_arrive_sealed_and_are_not_reported(rig: AgentRig) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"password": "hunter2"},
    }
    await rig.deploy("db", secret)
    await rig.when("db", sync=SyncState.SYNCED)
    assert all(b"hunter2" not in data for data in rig.rig.blobs.held.values())
    path = rig.path("secrets", "db")
    await rig.client.merge_patch(path, {"data": {"password": "aHVudGVyMw=="}})
    said = await rig.when("db", check=lambda said: bool(said.drift))
    assert "hunter" not in said.model_dump_json()
    live = await rig.live(path)
    assert live is not None
    assert live["data"]["password"] == "aHVudGVyMg=="


async def test_alert_tells_drift_and_leaves_it_restarts_included(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", color="blue"), drift={"mode": "Alert"})
    await rig.when("web", sync=SyncState.SYNCED)
    path = rig.path("configmaps", "web")
    await rig.client.merge_patch(path, {"data": {"color": "red"}})
    said = await rig.when("web", sync=SyncState.OUT_OF_SYNC)
    assert said.drift[0].paths == [".data.color"]
    await rig.stop()
    await rig.start()
    await rig.when("web", sync=SyncState.OUT_OF_SYNC)
    live = await rig.live(path)
    assert live is not None
    assert live["data"] == {"color": "red"}
    await rig.client.merge_patch(path, {"data": {"color": "blue"}})
    await rig.when("web", sync=SyncState.SYNCED)


async def test_i1_absence_is_an_orphan_and_a_tombstone_deletes(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.deploy("db", config_map("db", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.when("db", sync=SyncState.SYNCED)
    await rig.drop("web", tombstone=False)
    await rig.drop("db")
    await rig.when("db", check=lambda said: said.deleted)
    assert await rig.live(rig.path("configmaps", "db")) is None
    assert rig.agent is not None
    assert rig.agent.engine is not None
    assert rig.agent.engine.orphans == ["shop/web"]
    path = rig.path("configmaps", "web")
    await rig.client.merge_patch(path, {"data": {"a": "2"}})
    await rig.live_when(
        path, lambda obj: obj is not None and obj["data"] == {"a": "1"}
    )  # it runs on, in full


async def test_a37_deletion_runs_the_edges_in_reverse(rig: AgentRig) -> None:
    await rig.deploy("db", config_map("db", a="1"))
    finalized = config_map("web", a="1")
    finalized["metadata"]["finalizers"] = ["example.com/hold"]
    await rig.deploy("web", finalized)
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.when("db", sync=SyncState.SYNCED)
    del rig.apps["shop/db"], rig.apps["shop/web"]
    decided = {"reason": "Dropped", "decidedAt": "2026-01-01T00:00:00Z"}
    rig.tombstones = [{"app": "shop/db", "before": ["shop/web"]} | decided, {"app": "shop/web"} | decided]
    await rig.assign()
    await rig.when("db", check=lambda said: "waits for shop/web" in said.message)
    assert await rig.live(rig.path("configmaps", "db")) is not None
    await rig.client.json_patch(
        rig.path("configmaps", "web"), [{"op": "remove", "path": "/metadata/finalizers"}]
    )
    await rig.when("web", check=lambda said: said.deleted)
    await rig.when("db", check=lambda said: said.deleted)


async def test_an_app_waits_for_those_that_come_first(rig: AgentRig) -> None:
    await rig.deploy("db", {**config_map("db"), "kind": "Wrong"}, assign=False)
    await rig.deploy("web", config_map("web", a="1"), after=("db",))
    await rig.when("db", sync=SyncState.FAILED)
    said = await rig.when("web", sync=SyncState.BLOCKED)
    assert "shop/db" in said.message
    assert await rig.live(rig.path("configmaps", "web")) is None
    await rig.deploy("db", config_map("db", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)


async def test_f44_drift_is_corrected_after_a_restart_with_the_hub_away(rig: AgentRig) -> None:
    digest = await rig.deploy("web", config_map("web", color="blue"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.stop()
    path = rig.path("configmaps", "web")
    await rig.client.merge_patch(path, {"data": {"color": "red"}})
    await rig.start(hub_url="https://127.0.0.1:1")
    await rig.live_when(path, lambda obj: obj is not None and obj["data"]["color"] == "blue")
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)


async def test_f25_a_restart_in_peace_writes_nothing(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", color="blue"))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.stop()
    before = await rig.live(rig.path("configmaps", "web"))
    listing = await rig.client.list("/api/v1/namespaces/axletree-agent/secrets")
    held = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listing.items}
    await rig.start()
    await rig.when("web", sync=SyncState.SYNCED)
    await asyncio.sleep(0.3)
    assert await rig.live(rig.path("configmaps", "web")) == before
    listing = await rig.client.list("/api/v1/namespaces/axletree-agent/secrets")
    again = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listing.items}
    assert {name: again[name] for name in held} == held


async def test_a_lost_bundle_keeps_what_runs_and_says_so(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", color="blue"))
    await rig.when("web", sync=SyncState.SYNCED)
    digest = await rig.deploy("web", config_map("web", color="green"), assign=False)
    blob = rig.apps["shop/web"]["blob"]
    kept = rig.rig.blobs.held.pop(blob)
    await rig.assign()
    await rig.when("web", sync=SyncState.FAILED)
    path = rig.path("configmaps", "web")
    await rig.client.merge_patch(path, {"data": {"color": "red"}})
    await rig.live_when(path, lambda obj: obj is not None and obj["data"]["color"] == "blue")
    rig.rig.blobs.held[blob] = kept
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
    live = await rig.live(path)
    assert live is not None
    assert live["data"]["color"] == "green"


async def test_a_store_of_bundles_that_is_away_is_waited_for_and_no_failure(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", color="blue"))
    await rig.when("web", sync=SyncState.SYNCED)
    rig.rig.blobs.away = True
    digest = await rig.deploy("web", config_map("web", color="green"))
    await rig.when("web", sync=SyncState.SYNCING, check=lambda said: "HubRefused" in said.message)
    rig.rig.blobs.away = False
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)


async def test_a42_an_object_that_moves_between_apps_is_never_deleted(rig: AgentRig) -> None:
    await rig.deploy("one", config_map("moves", a="1"), config_map("stays", a="1"))
    await rig.when("one", sync=SyncState.SYNCED)
    before = await rig.live(rig.path("configmaps", "moves"))
    await rig.deploy("two", config_map("moves", a="1"), assign=False)
    digest = await rig.deploy("one", config_map("stays", a="1"))
    await rig.when("two", sync=SyncState.SYNCED)
    await rig.when("one", sync=SyncState.SYNCED, digest=digest)
    after = await rig.live(rig.path("configmaps", "moves"))
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_f48_two_apps_that_want_one_object_do_not_fight_and_the_other_is_named(rig: AgentRig) -> None:
    path = rig.path("configmaps", "contested")
    await rig.deploy("first", config_map("contested", a="first"), config_map("one", a="1"))
    await rig.when("first", sync=SyncState.SYNCED)
    before = await rig.live(path)
    await rig.deploy("a-second", config_map("contested", a="second"), config_map("two", a="1"))
    said = await rig.when(
        "a-second", sync=SyncState.FAILED, check=lambda said: "shop/first" in said.health_message
    )
    assert "OwnedByAnotherApp" in said.message
    assert "shop/first" in said.message
    assert await rig.live(rig.path("configmaps", "two")) is not None
    assert await rig.live(path) == before

    # It stays so over a restart, and a change by hand is put back by the owner.
    await rig.stop()
    await rig.start()
    await rig.when("a-second", sync=SyncState.FAILED)
    await rig.client.merge_patch(path, {"data": {"a": "by hand"}}, field_manager="kubectl")
    live = await rig.live_when(path, lambda obj: obj is not None and obj["data"] == {"a": "first"})
    assert before is not None
    assert live is not None
    assert live["metadata"]["labels"] == before["metadata"]["labels"]

    # The owner goes, and the object does not: it is the other app's from then on.
    await rig.drop("first")
    await rig.when("a-second", sync=SyncState.SYNCED)
    live = await rig.live(path)
    assert live is not None
    assert (live["metadata"]["uid"], live["data"]) == (before["metadata"]["uid"], {"a": "second"})


async def test_f24_a_lost_inventory_is_made_anew_from_what_is_ours(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("one", a="1"), config_map("two", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    assert rig.agent is not None
    assert rig.agent.identity is not None
    name = inventory_name(rig.agent.identity.hub_id, rig.cluster, "shop/web")
    await rig.stop()
    path = f"/api/v1/namespaces/axletree-agent/secrets/{name}"
    await rig.client.merge_patch(path, {"data": {"inventory": "AAAA"}})
    copied = config_map("copied", a="1")
    live = await rig.live(rig.path("configmaps", "one"))
    assert live is not None
    label = live["metadata"]["labels"][APPLYSET_PART_OF]
    copied["metadata"]["labels"] = {APPLYSET_PART_OF: label}
    await rig.client.create(f"/api/v1/namespaces/{rig.namespace}/configmaps", copied)
    await rig.start()
    digest = await rig.deploy("web", config_map("one", a="1"))
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
    assert await rig.live(rig.path("configmaps", "two")) is None
    assert await rig.live(rig.path("configmaps", "copied")) is not None  # a label alone is not ours


async def test_a_certificate_is_renewed_while_everything_goes_on(rig: AgentRig) -> None:
    await rig.joined()
    assert rig.agent is not None
    identity = rig.agent.identity
    assert identity is not None
    await rig.stop()
    await IdentityStore(SecretWriter(rig.client), rig.cluster).save(replace(identity, renew_at=1.0))
    agent = await rig.start()
    await until(lambda: agent.identity is not None and agent.identity.renewals == 1, "renewed")
    digest = await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED, digest=digest)
    assert agent.identity is not None
    assert agent.identity.certificate != identity.certificate


@pytest.mark.parametrize("bundle", ["there", "corrupt"])
async def test_f24_an_app_whose_inventory_is_lost_is_not_called_deleted(rig: AgentRig, bundle: str) -> None:
    await rig.deploy("web", config_map("one", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    assert rig.agent is not None
    assert rig.agent.identity is not None
    name = inventory_name(rig.agent.identity.hub_id, rig.cluster, "shop/web")
    path = rig.path("configmaps", "one")
    await rig.client.merge_patch(path, {"metadata": {"finalizers": ["example.com/hold"]}})
    await rig.drop("web", assign=True)
    await rig.live_when(path, lambda obj: obj is not None and "deletionTimestamp" in obj["metadata"])
    await rig.stop()
    secrets = "/api/v1/namespaces/axletree-agent/secrets"
    if bundle == "there":
        await rig.client.delete(f"{secrets}/{name}")
    else:
        kinds = {"metadata": {"annotations": {"applyset.kubernetes.io/contains-group-kinds": None}}}
        await rig.client.merge_patch(f"{secrets}/{name}", {"data": {"inventory": "AAAA"}} | kinds)
        for secret in (await rig.client.list(secrets)).items:
            of = (secret["metadata"].get("annotations") or {}).get("axletree.dev/app")
            if of == "shop/web" and secret["metadata"]["name"] != name:
                spoilt = {"data": dict.fromkeys(secret["data"], "AAAA")}
                await rig.client.merge_patch(f"{secrets}/{secret['metadata']['name']}", spoilt)
    await rig.start()
    expected = "1 objects are not gone yet" if bundle == "there" else "InventoryCorrupt: "
    said = await rig.when("web", check=lambda said: expected in said.message)
    assert (said.sync, said.deleted) == (SyncState.DELETING, False)
    await rig.client.merge_patch(path, {"metadata": {"finalizers": None}})
    if bundle == "there":
        await rig.when("web", check=lambda said: said.deleted)
