"""`axle why`, `history`, `diff` and `sync` against a real API server that holds what a hub would have written."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent.contract.names import LABEL_SET
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from hub.cli.kinds import APPS, CLUSTERS, SETS
from hub.cli.main import app
from hub.fleet import install

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from hub.cli.kinds import Resource
    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

SPEC = {"cluster": "eu1", "sources": [{"repoURL": "https://h/x"}]}
SET_SPEC = {
    "generators": [{"list": {"elements": [{"name": "a"}]}}],
    "template": {"metadata": {"name": "{{ name }}"}, "spec": {"cluster": "eu1"}},
}
OLD, NEW = "a" * 64, "b" * 64


class Shop:
    """A namespace of three apps of one set: database is Degraded, and the others wait for it in a chain."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        asyncio.run(self._prepare())

    def axle(self, *arguments: str) -> Result:
        env = {"AXLETREE_KUBECONFIG": str(self.plane.kubeconfig_path), "AXLETREE_HOME": "/nonexistent"}
        return CliRunner().invoke(app, list(arguments), env=env)

    def get(self, name: str, kind: Resource = APPS) -> dict[str, Any]:
        async def main() -> dict[str, Any]:
            async with RestClient(load_kubeconfig(self.plane.kubeconfig_path), user_agent="t") as client:
                return await client.get(kind.path(self.namespace, name))

        return asyncio.run(main())

    def rollout(self, waves: list[dict[str, Any]]) -> None:
        async def main() -> None:
            async with RestClient(load_kubeconfig(self.plane.kubeconfig_path), user_agent="t") as client:
                path = SETS.path(self.namespace, "shop")
                await client.merge_patch(
                    path, {"status": {"rollout": {"waves": waves}}}, subresource="status"
                )

        asyncio.run(main())

    async def _prepare(self) -> None:
        async with RestClient(load_kubeconfig(self.plane.kubeconfig_path), user_agent="t") as client:
            await install.install_hub(client)
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
            await install.apply_all(client, [space])
            cluster = {"apiVersion": "axletree.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "eu1"}}
            await client.apply(
                CLUSTERS.path(name="eu1"), cluster | {"spec": {"accepted": True}}, field_manager="tests"
            )
            await self._put(client, SETS, "shop", SET_SPEC, {"health": {"state": "Degraded"}})
            ready = {
                "type": "Ready",
                "status": "False",
                "reason": "Degraded",
                "message": "",
                "lastTransitionTime": "2020-01-01T00:00:00Z",
            }
            database = {
                "sync": {"state": "Synced", "target": NEW, "released": NEW, "live": NEW, "release": 2},
                "health": {"state": "Degraded", "message": "Deployment database: ImagePullBackOff"},
                "conditions": [ready],
                "history": [
                    {"release": 2, "digest": NEW, "revision": "c" * 40, "at": "2030-01-01T00:00:00Z"},
                    {
                        "release": 1,
                        "digest": OLD,
                        "revision": "d" * 40,
                        "at": "2029-01-01T00:00:00Z",
                        "blob": "e" * 64,
                        "well": True,
                    },
                ],
                "observed": {
                    "drift": [{"ref": "apps/Deployment shop/database", "paths": [".spec.replicas"]}]
                },
            }
            await self._put(client, APPS, "database-eu1", SPEC, database)
            root = "database@eu1 is Degraded: Deployment database: ImagePullBackOff"
            await self._put(client, APPS, "backend-eu1", SPEC, self._blocked("database", root))
            manual = SPEC | {"sync": {"mode": "Manual"}}
            await self._put(client, APPS, "frontend-eu1", manual, self._blocked("backend", root))

    def _blocked(self, on: str, root: str) -> dict[str, Any]:
        blocked = {
            "edge": "Dependency",
            "on": f"{self.namespace}/{on}-eu1",
            "message": f"{on}@eu1 is not ready",
            "root": root,
        }
        return {
            "sync": {"state": "Blocked", "target": NEW, "released": OLD, "live": OLD, "release": 1},
            "health": {"state": "Healthy"},
            "blockedBy": [blocked],
        }

    async def _put(self, client: RestClient, kind: Any, name: str, spec: Any, status: Any) -> None:
        metadata: dict[str, Any] = {"name": name, "namespace": self.namespace}
        if kind is APPS:
            metadata["labels"] = {LABEL_SET: "shop"}
        obj = {
            "apiVersion": "axletree.dev/v1alpha1",
            "kind": kind.kind,
            "metadata": metadata,
            "spec": spec,
        }
        path = kind.path(self.namespace, name)
        await client.apply(path, obj, field_manager="tests")
        await client.merge_patch(path, {"status": status}, subresource="status")


@pytest.fixture
def shop(own_server: ControlPlane, namespace: str) -> Shop:
    return Shop(own_server, namespace)


def test_why_follows_the_chain_to_its_root(shop: Shop) -> None:
    result = shop.axle("why", f"{shop.namespace}/frontend-eu1")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("frontend@eu1 is Blocked")
    assert lines[1] == "  waits: backend@eu1 is not ready"
    assert lines[2].startswith("  backend@eu1 is Blocked")
    assert lines[-1].startswith("    database@eu1 is Degraded since ")
    assert lines[-1].endswith("at bbbbbbbb: Deployment database: ImagePullBackOff")
    found = json.loads(shop.axle("why", f"app/{shop.namespace}/frontend-eu1", "-o", "json").stdout)
    assert found["root"] == "database@eu1 is Degraded: Deployment database: ImagePullBackOff"
    assert [link["app"].partition("/")[2] for link in found["chain"]] == [
        "frontend-eu1",
        "backend-eu1",
        "database-eu1",
    ]


def test_why_of_a_set_names_each_root_once(shop: Shop) -> None:
    result = shop.axle("why", f"appset/{shop.namespace}/shop", "-o", "name")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"applicationset.axletree.dev/{shop.namespace}/shop",
        f"application.axletree.dev/{shop.namespace}/database-eu1",
    ]


def test_history_and_diff(shop: Shop) -> None:
    result = shop.axle("history", f"{shop.namespace}/database-eu1")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[1][:3] == ["2", "bbbbbbbb", "cccccccc"]
    assert rows[1][-1] == "yes"
    drift = shop.axle("diff", f"{shop.namespace}/database-eu1")
    assert drift.exit_code == 1
    assert drift.stdout.splitlines() == ["changed: apps/Deployment shop/database", "  .spec.replicas"]
    waiting = shop.axle("diff", f"{shop.namespace}/backend-eu1")
    assert waiting.stdout == "not released: aaaaaaaa -> bbbbbbbb\n"


def test_sync_means_exactly_the_target_of_now(shop: Shop) -> None:
    result = shop.axle("sync", f"appset/{shop.namespace}/shop")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{shop.namespace}/frontend-eu1 may go to bbbbbbbb\n"
    assert shop.get("frontend-eu1")["metadata"]["annotations"]["axletree.dev/sync"] == NEW
    assert shop.axle("sync", f"{shop.namespace}/backend-eu1").exit_code == 1


def test_graph_of_a_hub_has_its_apps(shop: Shop) -> None:
    found = json.loads(shop.axle("graph", "-o", "json").stdout)
    mine = {node["app"]: node for node in found["nodes"] if node["app"].startswith(f"{shop.namespace}/")}
    assert mine[f"{shop.namespace}/backend-eu1"]["sync"] == "Blocked"
    assert mine[f"{shop.namespace}/database-eu1"]["cluster"] == "eu1"


def test_plan_against_a_hub_names_what_would_come_and_go(shop: Shop, tmp_path: Path) -> None:
    manifest = """
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {name: shop, namespace: NAMESPACE}
spec:
  generators: [{list: {elements: [{name: backend-eu1}, {name: new-eu1}]}}]
  template: {metadata: {name: "{{ name }}"}, spec: {cluster: eu1, sources: [{repoURL: "https://h/x"}]}}
"""
    (tmp_path / "shop.yaml").write_text(manifest.replace("NAMESPACE", shop.namespace))
    result = shop.axle("plan", "--dir", str(tmp_path), "-o", "json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    actions = {each["app"].partition("/")[2]: each["action"] for each in found["changes"]}
    assert actions == {
        "backend-eu1": "Changed",
        "new-eu1": "Added",
        "database-eu1": "Removed",
        "frontend-eu1": "Removed",
    }
    assert shop.get("database-eu1")["metadata"].get("deletionTimestamp") is None


def test_rollback_is_a_pin_at_the_last_good_release(shop: Shop) -> None:
    result = shop.axle("rollback", f"appset/{shop.namespace}/shop")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{shop.namespace}/database-eu1 goes back to release 1 (aaaaaaaa)\n"
    note = shop.get("database-eu1")["metadata"]["annotations"]["axletree.dev/pin"]
    assert note == f"{OLD}/{NEW}/person"
    assert shop.axle("rollback", f"{shop.namespace}/database-eu1", "--to", "7").exit_code == 2
    assert shop.axle("rollback", f"{shop.namespace}/backend-eu1").exit_code == 1
    assert shop.axle("rollback", f"{shop.namespace}/database-eu1", "--undo").exit_code == 0
    assert "axletree.dev/pin" not in shop.get("database-eu1")["metadata"].get("annotations", {})
    assert shop.axle("rollback", f"{shop.namespace}/database-eu1", "--undo").exit_code == 1


def test_pause_and_resume(shop: Shop) -> None:
    assert shop.axle("pause", f"{shop.namespace}/backend-eu1").exit_code == 0
    assert shop.get("backend-eu1")["metadata"]["annotations"]["axletree.dev/paused"] == "true"
    assert shop.axle("resume", f"{shop.namespace}/backend-eu1").exit_code == 0
    assert shop.axle("resume", f"{shop.namespace}/backend-eu1").exit_code == 1
    assert shop.axle("pause", "cluster/eu1").stdout == "cluster eu1 is paused\n"
    assert shop.axle("resume", "cluster/eu1").exit_code == 0


def test_a_wave_is_approved_as_it_is_now(shop: Shop) -> None:
    assert shop.axle("approve", f"{shop.namespace}/shop", "--wave", "fleet").exit_code == 2
    waves = [
        {"name": "canary", "plan": 4, "state": "Halted", "failures": ["a/b", "a/c"]},
        {"name": "fleet", "plan": 4, "state": "AwaitingApproval"},
        {"name": "last", "plan": 2, "state": "Done"},
    ]
    shop.rollout(waves)
    unnamed = shop.axle("approve", f"{shop.namespace}/shop")
    assert unnamed.exit_code == 1
    assert "wave canary is Halted: --wave canary; wave fleet is AwaitingApproval" in " ".join(
        unnamed.stderr.split()
    )
    for wave in ("fleet", "canary"):
        result = shop.axle("approve", f"{shop.namespace}/shop", "--wave", wave)
        assert result.exit_code == 0, result.output
    assert shop.axle("approve", f"{shop.namespace}/shop", "--wave", "last").exit_code == 1
    assert (
        shop.get("shop", SETS)["metadata"]["annotations"]["axletree.dev/approve-wave"] == "fleet/4,canary/4/2"
    )


def test_release_says_what_holds_an_app_and_forces_it_past_that(shop: Shop) -> None:
    name = f"{shop.namespace}/backend-eu1"
    held = shop.axle("release", name)
    assert (held.exit_code, held.stdout) == (1, "Dependency: database@eu1 is not ready\n")
    assert "--force" in held.stderr
    assert "annotations" not in shop.get("backend-eu1")["metadata"]
    done = shop.axle("release", name, "--force")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "past Dependency: database@eu1 is not ready",
        f"application {name} goes to bbbbbbbb",
    ]
    note = shop.get("backend-eu1")["metadata"]["annotations"]["axletree.dev/force-release"]
    digest, number, who = note.split("/", 2)
    assert (digest, number) == (NEW, "2"), "its next release, and no other"
    assert who != "somebody", "the API server says who asks"
    nothing = shop.axle("release", f"{shop.namespace}/database-eu1", "--force")
    assert (nothing.exit_code, "waits for no release" in nothing.stderr) == (1, True)
