"""What is said of drift: who changed what, how long ago, and whether it is a fight."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.apply.plan import CONFIRM_DELETE
from agent.contract.bundle import DriftPolicy
from agent.contract.health import DriftMode, HealthState, SyncState
from agent.contract.objectsync import ObjectSyncState
from agent.contract.options import IgnoreDifference
from tests.integration.agent_rig import AgentRig, agent_on, config_map, deployment
from tests.integration.apply.test_apply_prune import claim, crd, gadget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.contract.wire import AppReport
    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def rig(api_server: ControlPlane) -> AsyncIterator[AgentRig]:
    async with agent_on(api_server) as rig:
        yield rig


async def test_a11_what_is_changed_again_and_again_is_a_fight_and_is_still_corrected(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", color="blue"))
    await rig.when("web", sync=SyncState.SYNCED)
    path = rig.path("configmaps", "web")
    for number in range(6):
        change = {"data": {"color": f"red-{number}"}}
        await rig.client.merge_patch(path, change, field_manager="their-controller")
        await rig.live_when(path, lambda obj: obj is not None and obj["data"]["color"] == "blue")
    said = await rig.when("web", check=lambda said: said.message.startswith("DriftFight: "))
    assert said.sync is SyncState.SYNCED
    assert said.drift[0].fighting
    assert "their-controller" in said.message


async def test_drift_that_is_told_has_both_values_who_and_when_and_becomes_an_alert(rig: AgentRig) -> None:
    policy = DriftPolicy(mode=DriftMode.ALERT, alert_after=2)
    await rig.deploy("web", config_map("web", color="blue"), drift=policy)
    await rig.when("web", sync=SyncState.SYNCED)
    path = rig.path("configmaps", "web")
    await rig.client.merge_patch(path, {"data": {"color": "red"}}, field_manager="a-person")
    said = await rig.when("web", sync=SyncState.OUT_OF_SYNC)
    (entry,) = said.drift
    assert [(each.path, each.wanted, each.live) for each in entry.changes] == [
        (".data.color", '"blue"', '"red"')
    ]
    assert entry.manager == "a-person"
    assert entry.at
    assert not entry.corrected
    await rig.when("web", check=lambda said: said.message.startswith("DriftAlert: "))
    await rig.client.merge_patch(path, {"data": {"color": "blue"}}, field_manager="a-person")
    await rig.when("web", sync=SyncState.SYNCED, check=lambda said: not said.message)


async def test_s9_drift_of_a_secret_tells_no_value(rig: AgentRig) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"a": "hunter2"},
    }
    await rig.deploy("db", secret, drift=DriftPolicy(mode=DriftMode.ALERT))
    await rig.when("db", sync=SyncState.SYNCED)
    changed = base64.b64encode(b"hunter3").decode()
    await rig.client.merge_patch(rig.path("secrets", "db"), {"data": {"a": changed}})
    said = await rig.when("db", sync=SyncState.OUT_OF_SYNC)
    text = said.model_dump_json()
    assert ".data.a" in text
    assert "hunter" not in text
    assert changed not in text
    assert base64.b64encode(b"hunter2").decode() not in text


async def test_drift_that_is_ignored_is_neither_told_nor_put_back_until_the_next_release(
    rig: AgentRig,
) -> None:
    policy = DriftPolicy(mode=DriftMode.IGNORE)
    await rig.deploy("web", config_map("web", color="blue"), config_map("other", a="1"), drift=policy)
    await rig.when("web", sync=SyncState.SYNCED)
    path = rig.path("configmaps", "web")
    edited = await rig.client.merge_patch(path, {"data": {"color": "red"}}, field_manager="a-person")
    await rig.client.delete(rig.path("configmaps", "other"))
    said = await rig.when("web", check=lambda said: said.health is HealthState.MISSING)
    assert (said.sync, said.drift) == (SyncState.SYNCED, [])
    live = await rig.live(path)
    assert live is not None
    assert live["metadata"]["resourceVersion"] == edited["metadata"]["resourceVersion"]
    digest = await rig.deploy(
        "web", config_map("web", color="green"), config_map("other", a="1"), drift=policy
    )
    await rig.when("web", sync=SyncState.SYNCED, health=HealthState.HEALTHY, digest=digest)
    live = await rig.live(path)
    assert live is not None
    assert live["data"] == {"color": "green"}


async def test_one_object_is_put_back_on_request_and_nothing_else(rig: AgentRig) -> None:
    policy = DriftPolicy(mode=DriftMode.ALERT)
    digest = await rig.deploy("web", config_map("a", v="1"), config_map("b", v="1"), drift=policy)
    await rig.when("web", sync=SyncState.SYNCED)
    for name in ("a", "b"):
        await rig.client.merge_patch(
            rig.path("configmaps", name), {"data": {"v": "2"}}, field_manager="person"
        )
    await rig.when("web", check=lambda said: len(said.drift) == 2)
    said = await rig.again("web", digest, "configmap/a")
    assert (said.state, said.action, said.ref) == (
        ObjectSyncState.APPLIED,
        "Configured",
        f"ConfigMap {rig.namespace}/a",
    )
    one = await rig.when("web", check=lambda said: len(said.drift) == 1)
    assert [entry.ref for entry in one.drift] == [f"ConfigMap {rig.namespace}/b"]
    assert one.sync is SyncState.OUT_OF_SYNC
    left = await rig.live(rig.path("configmaps", "b"))
    assert left is not None
    assert left["data"] == {"v": "2"}
    await rig.client.merge_patch(rig.path("configmaps", "a"), {"data": {"v": "2"}}, field_manager="person")
    await rig.when("web", check=lambda said: len(said.drift) == 2)  # the same value once more is drift again
    await rig.client.delete(rig.path("configmaps", "a"))
    await rig.when("web", check=lambda said: said.health is HealthState.MISSING)
    assert (await rig.again("web", digest, "cm/a")).state is ObjectSyncState.NO_SUCH_OBJECT
    assert (await rig.again("web", digest, "ConfigMap/a")).action == "Created"
    await rig.when("web", health=HealthState.HEALTHY)
    unchanged = await rig.again("web", digest, "configmaps/a")
    assert (unchanged.state, unchanged.action) == (ObjectSyncState.APPLIED, "Unchanged")


async def test_one_object_waits_for_its_release_and_is_refused_like_any_apply(rig: AgentRig) -> None:
    bad = config_map("b", v="1") | {"metadata": {"name": "b", "labels": {"x": "no label!"}}}
    digest = await rig.deploy("web", config_map("a", v="1"), bad)
    await rig.when("web", sync=SyncState.FAILED)
    said = await rig.again("web", digest, "configmap/a")
    assert said.state is ObjectSyncState.WAITING
    assert "ConfigMap" in said.message
    assert (await rig.again("web", "0" * 64, "configmap/a")).state is ObjectSyncState.WAITING
    alert = DriftPolicy(mode=DriftMode.ALERT)
    digest = await rig.deploy("web", config_map("a", v="1"), drift=alert, service_account="nobody-here")
    await rig.when("web", check=lambda said: "ServiceAccountMissing" in said.message)
    assert (await rig.again("web", digest, "configmap/a")).state is ObjectSyncState.WAITING


async def test_a17_what_the_api_server_keeps_is_told_as_residual_drift(rig: AgentRig) -> None:
    def service(**spec: str) -> dict[str, Any]:
        ports = [{"port": 80, "protocol": "TCP"}]
        metadata = {"name": "web"}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports, **spec}}

    await rig.deploy("web", service(clusterIP="10.96.201.99"))
    await rig.when("web", sync=SyncState.SYNCED)
    digest = await rig.deploy("web", service())

    def residual(said: AppReport) -> bool:
        return said.message.startswith("ResidualDrift: ")

    said = await rig.when("web", sync=SyncState.SYNCED, digest=digest, check=residual)
    (entry,) = said.drift
    assert (entry.paths, entry.corrected) == ([".spec.clusterIP"], False)
    await rig.stop()
    await rig.start()
    said = await rig.when("web", sync=SyncState.SYNCED, digest=digest, check=residual)
    assert said.drift[0].changes[0].live == '"10.96.201.99"'


@pytest.mark.parametrize("mode", [DriftMode.ALERT, DriftMode.CORRECT])
async def test_what_a_named_manager_owns_is_left_and_the_rest_is_still_looked_at(
    rig: AgentRig, mode: DriftMode
) -> None:
    """The watch's copy of an object knows nothing of what others own."""
    rules = [IgnoreDifference(kind="ConfigMap", managers=["bob"])]
    drift = DriftPolicy(mode=mode)
    await rig.deploy("web", config_map("web", a="1", b="1"), drift=drift, ignore_differences=rules)
    await rig.when("web", sync=SyncState.SYNCED)
    path = rig.path("configmaps", "web")
    await rig.client.merge_patch(path, {"data": {"a": "bob's"}}, field_manager="bob")
    await rig.client.merge_patch(path, {"data": {"b": "by hand"}}, field_manager="hand")
    if mode is DriftMode.ALERT:
        said = await rig.when("web", sync=SyncState.OUT_OF_SYNC)
        assert [entry.paths for entry in said.drift] == [[".data.b"]]
        return
    live = await rig.live_when(path, lambda obj: obj is not None and obj["data"]["b"] == "1")
    assert live is not None
    assert live["data"]["a"] == "bob's"


async def test_i3_what_is_deleted_while_its_round_is_under_way_comes_back_at_once(rig: AgentRig) -> None:
    await rig.deploy("web", config_map("web", a="1"))
    await rig.when("web", sync=SyncState.SYNCED)
    maps, path = rig.path("configmaps", "web"), rig.path("deployments", "slow", group="apps/v1")
    async with _held_admission(rig, "deployments") as let_go:
        digest = await rig.deploy("web", config_map("web", a="2"), deployment("slow"))
        await rig.live_when(maps, lambda obj: obj is not None and obj["data"] == {"a": "2"})
        await rig.client.delete(maps)
        assert await rig.live(path) is None, "the round goes on"
        let_go()
        await rig.live_when(maps, lambda obj: obj is not None)
    await rig.when(
        "web", sync=SyncState.SYNCED, digest=digest, check=lambda said: "Missing" not in said.counts
    )


@asynccontextmanager
async def _held_admission(rig: AgentRig, plural: str) -> AsyncIterator[Callable[[], None]]:
    """A webhook that nothing depends on: each new object of that kind waits for it, until it is let go."""
    asked, over = asyncio.Event(), asyncio.Event()
    over.set()

    async def held(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(held, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    root = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [plural]}
    hook = {
        "name": "slow.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "timeoutSeconds": 30,
        "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": rig.namespace}},
        "rules": [rule],
    }
    await rig.client.create(root, {"metadata": {"name": rig.cluster}, "webhooks": [hook]})
    collection = rig.path("deployments", "", group="apps/v1").rstrip("/")
    try:
        async with asyncio.timeout(60):
            while not asked.is_set():  # the API server learns of it by a watch
                probe = deployment("probe")
                await rig.client.request("POST", collection, params={"dryRun": "All"}, body=probe)
        over.clear()
        yield over.set
    finally:
        over.set()
        await rig.client.delete(f"{root}/{rig.cluster}")
        server.close()
        await server.wait_closed()


async def test_a29_a36_what_a_release_left_out_goes_where_drift_is_only_told_too(rig: AgentRig) -> None:
    alert = DriftPolicy(mode=DriftMode.ALERT)
    held = deployment("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    maps = config_map("stays", a="1"), config_map("after", a="1")
    await rig.deploy("web", *maps, held, claim(), drift=alert)
    await rig.when("web", sync=SyncState.SYNCED)
    digest = await rig.deploy("web", maps[0], drift=alert)
    await rig.when("web", digest=digest, check=lambda said: "not gone yet" in said.message)
    await rig.client.merge_patch(rig.path("configmaps", "stays"), {"data": {"a": "theirs"}})
    await rig.when("web", sync=SyncState.OUT_OF_SYNC)
    path = rig.path("deployments", "held", group="apps/v1")
    await rig.client.merge_patch(path, {"metadata": {"finalizers": None}})
    await rig.when("web", check=lambda said: said.held.startswith("ConfirmDelete: "))
    await rig.live_when(rig.path("configmaps", "after"), lambda obj: obj is None)
    path = rig.path("persistentvolumeclaims", "data")
    await rig.client.merge_patch(path, {"metadata": {"annotations": {CONFIRM_DELETE: "data"}}})
    await rig.when("web", sync=SyncState.OUT_OF_SYNC, check=lambda said: not said.held)
    await rig.live_when(path, lambda obj: obj is None or "deletionTimestamp" in obj["metadata"])
    live = await rig.live(rig.path("configmaps", "stays"))
    assert live is not None
    assert live["data"] == {"a": "theirs"}


async def test_f39_a_kind_that_went_is_told_as_missing_where_drift_is_only_told(rig: AgentRig) -> None:
    group = f"{rig.namespace}.example.com"
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await rig.client.create(definitions, crd(group))
    gadgets = config_map("web", a="1"), gadget(group, "one")
    await rig.deploy("web", *gadgets, drift=DriftPolicy(mode=DriftMode.ALERT))
    await rig.when("web", sync=SyncState.SYNCED)
    await rig.stop()
    await rig.client.delete(f"{definitions}/gadgets.{group}")
    await rig.live_when(f"{definitions}/gadgets.{group}", lambda obj: obj is None)
    await rig.start()
    said = await rig.when("web", sync=SyncState.OUT_OF_SYNC)
    assert [entry.paths for entry in said.drift] == [["(the object is gone)"]]
