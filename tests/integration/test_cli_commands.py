"""Commands against a real API server that holds what a hub would have written; no hub runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from typer.testing import CliRunner

from agent.contract.errors import ApiError
from agent.contract.names import APPLYSET_PART_OF, HUB_NAMESPACE, LABEL_SET, applyset_id
from agent.contract.token import JoinToken
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from hub.cli.kinds import APPS, CLUSTERS, SETS, Resource
from hub.cli.main import app
from hub.fleet import install
from hub.gateway import paths
from hub.gateway.identity import HubIdentity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from typer.testing import Result

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

T = TypeVar("T")
SPEC = {"cluster": "eu1", "sources": [{"repoURL": "https://h/x"}]}
SET_SPEC = {
    "generators": [{"list": {"elements": [{"name": "a"}]}}],
    "template": {"metadata": {"name": "{{ name }}"}, "spec": {"cluster": "eu1"}},
}


class World:
    """One namespace of objects, and `axle` pointed at it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.hub_id = ""

    def run(self, work: Callable[[RestClient], Awaitable[T]]) -> T:
        async def main() -> T:
            config = load_kubeconfig(self.plane.kubeconfig_path)
            async with RestClient(config, user_agent="axletree-tests") as client:
                return await work(client)

        return asyncio.run(main())

    def axle(self, *arguments: str, given: str | None = None) -> Result:
        return _axle(self.plane, *arguments, given=given)

    def put(self, kind: Resource, name: str, spec: Any, status: Any = None, **metadata: Any) -> str:
        """Make an object with a status, as the controller would; `generation` becomes the observed one."""
        scope = {"namespace": self.namespace} if kind.namespaced else {}
        obj = {
            "apiVersion": "axletree.dev/v1alpha1",
            "kind": kind.kind,
            "metadata": {"name": name, **scope, **metadata},
            "spec": spec,
        }

        async def work(client: RestClient) -> None:
            path = kind.path(self.namespace, name)
            made = await client.apply(path, obj, field_manager="tests")
            if status is not None:
                body = {"status": {"observedGeneration": made["metadata"]["generation"], **status}}
                await client.merge_patch(path, body, subresource="status")

        self.run(work)
        return f"{self.namespace}/{name}"

    def get(self, kind: Resource, name: str) -> dict[str, Any]:
        return self.run(lambda client: client.get(kind.path(self.namespace, name)))


async def _prepare(client: RestClient, namespace: str) -> str:
    await install.install_hub(client)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await install.apply_all(client, [space])
    return (await HubIdentity.load_or_create(client, now=datetime.now(UTC))).hub_id


def _axle(plane: ControlPlane, *arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), env=_environment(plane), input=given)


def _environment(plane: ControlPlane) -> dict[str, str]:
    return {"AXLETREE_KUBECONFIG": str(plane.kubeconfig_path), "AXLETREE_HOME": "/nonexistent"}


@pytest.fixture(scope="module")
def before_axletree(own_server: ControlPlane) -> Result:
    """What a command says of the API server before anything of ours is installed there."""
    return _axle(own_server, "get", "apps")


@pytest.fixture
def world(own_server: ControlPlane, before_axletree: Result, namespace: str) -> Iterator[World]:
    del before_axletree  # it had to come first
    world = World(own_server, namespace)
    world.hub_id = world.run(lambda client: _prepare(client, namespace))
    yield world

    async def clear(client: RestClient) -> None:
        for kind in (APPS, SETS, CLUSTERS):
            for obj in (await client.list(kind.path(namespace))).items:
                await client.delete(kind.path(namespace, obj["metadata"]["name"]))

    world.run(clear)


def healthy(sync: str = "Synced", health: str = "Healthy", **more: Any) -> dict[str, Any]:
    return {"sync": {"state": sync}, "health": {"state": health}, **more}


def test_get_prints_every_format(world: World) -> None:
    world.put(APPS, "web", SPEC, healthy("Blocked", "Missing", blockedBy=[{"message": "db is Degraded"}]))
    table = world.axle("get", "apps", "-n", world.namespace)
    assert table.exit_code == 0, table.output
    header, line = table.stdout.splitlines()
    assert header.split()[:5] == ["NAMESPACE", "NAME", "CLUSTER", "SYNC", "HEALTH"]
    assert line.split()[:5] == [world.namespace, "web", "eu1", "Blocked", "Missing"]
    assert line.endswith("db is Degraded")
    names = world.axle("get", "apps", "-n", world.namespace, "-o", "name")
    assert names.stdout == f"application.axletree.dev/{world.namespace}/web\n"
    one = json.loads(world.axle("get", "app", f"{world.namespace}/web", "-o", "json").stdout)
    assert one["metadata"]["name"] == "web"
    everything = json.loads(world.axle("get", "apps", "-o", "json").stdout)
    assert everything["kind"] == "List"


def test_get_selects_by_label_and_says_no_where_nothing_is_of_that_name(world: World) -> None:
    world.put(APPS, "web", SPEC, labels={"app": "web"})
    world.put(APPS, "db", SPEC, labels={"app": "db"})
    chosen = world.axle("get", "apps", "-n", world.namespace, "-l", "app=db", "-o", "name")
    assert chosen.stdout == f"application.axletree.dev/{world.namespace}/db\n"
    missing = world.axle("get", "app", "wep")
    assert missing.exit_code == 1
    assert f"did you mean {world.namespace}/web" in missing.stderr
    both = world.axle(
        "get", "app", "web", f"{world.namespace}/db", "web", "-n", world.namespace, "-o", "name"
    )
    assert both.stdout.split() == [
        f"application.axletree.dev/{world.namespace}/{name}" for name in ("web", "db")
    ]
    some = world.axle("get", "app", "wep", f"{world.namespace}/db", "web@lab9", "-o", "json")
    assert (some.exit_code, json.loads(some.stdout)["kind"]) == (1, "List")
    assert "did you mean" in some.stderr
    assert "web@lab9" in some.stderr
    here = world.axle("get", "app", f"web@{SPEC['cluster']}", "-n", world.namespace, "-o", "name")
    assert here.stdout == f"application.axletree.dev/{world.namespace}/web\n"
    empty = world.axle("get", "apps", "-n", "no-such-namespace")
    assert (empty.exit_code, empty.stdout) == (0, "")
    unknown = world.axle("get", "pods")
    assert unknown.exit_code == 2


def test_get_clusters_takes_liveness_from_leases(world: World) -> None:
    world.put(CLUSTERS, "eu1", {"accepted": True}, {"fingerprint": "ab", "connected": "Connected"})
    world.put(CLUSTERS, "new", {})
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "agent-eu1",
            "namespace": HUB_NAMESPACE,
            "annotations": {"axletree.dev/cluster": "eu1", "axletree.dev/connected": "false"},
        },
        "spec": {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 360},
    }
    world.run(lambda client: client.apply(paths.lease("agent-eu1"), lease, field_manager="tests"))
    rows = [line.split() for line in world.axle("get", "clusters").stdout.splitlines()[1:]]
    assert [row[:3] for row in rows] == [["eu1", "yes", "Stale"], ["new", "no", "Pending"]]


def test_tree_follows_the_label_of_the_hubs_own_agent(world: World) -> None:
    root = world.put(APPS, "root", {**SPEC, "cluster": "hub"}, healthy())
    label = {APPLYSET_PART_OF: applyset_id(world.hub_id, "hub", root)}
    world.put(
        SETS,
        "shop",
        SET_SPEC,
        {"health": {"state": "Healthy"}, "sync": {"Synced": 1}, "children": 1},
        labels=label,
    )
    world.put(APPS, "a", SPEC, healthy(), labels={LABEL_SET: "shop"})
    result = world.axle("tree", "root", "-n", world.namespace, "-o", "json")
    assert result.exit_code == 0, result.output
    (tree,) = json.loads(result.stdout)
    assert tree["name"] == root
    assert tree["children"][0]["children"][0]["name"] == f"{world.namespace}/a"
    drawn = world.axle("tree", f"appset/{world.namespace}/shop").stdout
    assert drawn.splitlines()[0].startswith(f"set {world.namespace}/shop  1/1 Synced  Healthy")
    assert f"└── app {world.namespace}/a  eu1  Synced  Healthy" in drawn


def test_the_tree_of_a_dead_hub_says_so(world: World) -> None:
    world.put(APPS, "web", SPEC, healthy())
    assert "the hub is not running" in world.axle("tree").stderr


def test_wait_returns_when_it_happens(world: World) -> None:
    world.put(APPS, "web", SPEC, healthy("Syncing"))

    command = ["wait", "web", "-n", world.namespace, "--timeout", "4m"]
    environment = {**os.environ, **_environment(world.plane)}
    with subprocess.Popen(
        [sys.executable, "-m", "hub.cli.main", *command], env=environment, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stderr is not None
        told = waiting.stderr.readline()
        world.put(APPS, "web", SPEC, healthy())
        told += waiting.stderr.read()
    assert waiting.returncode == 0, told
    assert "Syncing" in told


def test_wait_waits_for_all_of_several_and_names_those_that_are_not_there(world: World) -> None:
    world.put(APPS, "web", SPEC, healthy())
    world.put(APPS, "db", SPEC, healthy("Syncing"))
    options = ("-n", world.namespace, "-q", "--timeout")
    names = (f"web@{SPEC['cluster']}", "db", "no-such")
    result = world.axle("wait", *names, *options, "0.5s")
    assert result.exit_code == 1
    assert result.stdout == f"{world.namespace}/{names[0]} is Healthy\n"
    assert f"{world.namespace}/db is not Healthy after 0.5s: Syncing" in result.stderr
    assert "there is no application or application set" in " ".join(result.stderr.split())
    world.put(APPS, "db", SPEC, healthy())
    assert world.axle("wait", "app/web", "app/db", *options, "30s").exit_code == 0
    none = world.axle("wait", "gone", f"gone@{SPEC['cluster']}", "--for", "Deleted", *options, "30s")
    assert none.exit_code == 0


def test_wait_ends_in_time_with_the_reason(world: World) -> None:
    blocked = healthy("Blocked", "Missing", blockedBy=[{"message": "db is Degraded", "root": "db@eu1"}])
    world.put(APPS, "web", SPEC, blocked)
    result = world.axle("wait", f"{world.namespace}/web", "--timeout", "0.5s", "-q")
    assert result.exit_code == 1
    assert "db is Degraded (root: db@eu1)" in result.stderr


def test_wait_is_not_content_with_the_health_of_an_older_spec(world: World) -> None:
    world.put(APPS, "web", SPEC, healthy())
    world.put(APPS, "web", {**SPEC, "namespace": "other"})
    assert world.axle("wait", "web", "-n", world.namespace, "--timeout", "0.5s").exit_code == 1


def test_wait_for_deletion_is_content_with_nothing(world: World) -> None:
    assert world.axle("wait", "gone", "-n", world.namespace, "--for", "Deleted").exit_code == 0


def test_refresh_of_a_child_asks_its_set(world: World) -> None:
    world.put(SETS, "shop", SET_SPEC)
    world.put(APPS, "a", SPEC, labels={LABEL_SET: "shop"})
    assert world.axle("refresh", "a", "-n", world.namespace).exit_code == 0
    first = world.get(SETS, "shop")["metadata"]["annotations"]["axletree.dev/refresh"]
    assert world.axle("refresh", f"appset/{world.namespace}/shop").exit_code == 0
    assert world.get(SETS, "shop")["metadata"]["annotations"]["axletree.dev/refresh"] != first
    assert "annotations" not in world.get(APPS, "a")["metadata"]


def test_approve_answers_exactly_the_plan_that_is_held(world: World) -> None:
    held = [{"app": f"{world.namespace}/a", "reason": "Budget", "since": "2030-01-01T00:00:00Z"}]
    world.put(SETS, "shop", SET_SPEC, {"plan": {"id": 7, "held": held}})
    result = world.axle("approve", f"{world.namespace}/shop")
    assert result.exit_code == 0, result.output
    assert f"{world.namespace}/a" in result.stdout
    assert world.get(SETS, "shop")["metadata"]["annotations"]["axletree.dev/approve"] == "deletions/7"


def test_approve_of_one_app_and_of_nothing(world: World) -> None:
    deletion = {"reason": "Deleted", "decidedAt": "2030-01-01T00:00:00Z", "held": "Breaker"}
    world.put(APPS, "a", SPEC, healthy(deletion=deletion))
    world.put(APPS, "b", SPEC, healthy())
    assert world.axle("approve", f"{world.namespace}/a").exit_code == 0
    answer = world.get(APPS, "a")["metadata"]["annotations"]["axletree.dev/approve"]
    assert answer == "deletion/2030-01-01T00:00:00Z"  # of this decision, and of no later one
    assert world.axle("approve", f"{world.namespace}/b").exit_code == 1


def test_an_ambiguous_name_is_asked_back(world: World) -> None:
    world.put(APPS, "shop", SPEC)
    world.put(SETS, "shop", SET_SPEC)
    result = world.axle("refresh", f"{world.namespace}/shop")
    assert result.exit_code == 2
    assert f"appset/{world.namespace}/shop" in result.stderr


def test_a_token_is_printed_alone_and_belongs_to_this_hub(world: World) -> None:
    result = world.axle("token", "create", "eu7", "--ttl", "30m", "--label", "env=prod", "--auto-accept")
    assert result.exit_code == 0, result.output
    token = JoinToken.parse(result.stdout.strip())
    assert token.hub == world.hub_id
    assert token.secret not in result.stderr
    assert world.axle("token", "create", "eu7", "--label", "env").exit_code == 2


def test_accept_and_remove(world: World) -> None:
    world.put(CLUSTERS, "lab9", {"accepted": False})
    assert world.axle("cluster", "accept", "lab9").stdout == "cluster lab9 is accepted\n"
    assert world.get(CLUSTERS, "lab9")["spec"]["accepted"] is True
    assert world.axle("cluster", "remove", "lab9", given="n\n").exit_code != 0
    assert world.get(CLUSTERS, "lab9")
    assert world.axle("cluster", "remove", "lab9", "--yes").stdout == "cluster lab9 is removed\n"
    with pytest.raises(ApiError) as gone:
        world.get(CLUSTERS, "lab9")
    assert gone.value.status == 404
    assert world.axle("cluster", "remove", "lab9", "--yes").exit_code == 2


def test_a_removal_that_hangs_says_what_is_left(world: World) -> None:
    world.put(CLUSTERS, "eu1", {"accepted": True}, finalizers=["axletree.dev/cleanup"])
    world.put(APPS, "a", SPEC)
    result = world.axle("cluster", "remove", "eu1", "--yes", "--timeout", "0.5s")
    assert result.exit_code == 1
    assert f"{world.namespace}/a" in result.stderr
    assert "--force" in result.stderr
    forced = world.axle("cluster", "remove", "eu1", "--yes", "--force", "--timeout", "0.5s")
    assert forced.exit_code == 1
    assert world.get(CLUSTERS, "eu1")["metadata"]["annotations"]["axletree.dev/force-remove"] == "true"
    world.run(
        lambda client: client.merge_patch(CLUSTERS.path(name="eu1"), {"metadata": {"finalizers": None}})
    )


def test_status_without_a_hub_says_so_and_says_no(world: World) -> None:
    world.put(APPS, "web", SPEC, healthy())
    result = world.axle("status")
    assert result.exit_code == 1
    assert "Hub       " in result.stdout
    assert "Apps      1: 1 Healthy; 1 Synced" in result.stdout
    assert json.loads(world.axle("status", "-o", "json").stdout)["hub"]["running"] is False


async def projects_are_served(client: RestClient) -> None:
    """A kind that was just defined is refused for a moment."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.list("/apis/axletree.dev/v1alpha1/projects")
            except ApiError as error:
                if not error.transient:
                    raise
                await asyncio.sleep(0.1)
            else:
                return


def test_status_and_orphans_tell_what_an_agent_holds_and_the_hub_does_not_know(world: World) -> None:
    world.run(projects_are_served)
    name = f"c-{world.namespace}"
    orphan = {"app": "shop/old", "objects": 3, "namespaces": ["shop"], "refs": ["ConfigMap shop/a"]}
    former = {"app": "shop/web", "hub": "9f86d081aa", "objects": 1}
    world.put(CLUSTERS, name, {"accepted": True}, {"orphans": [orphan, former], "connected": "Connected"})
    assert f"{name} holds 2 apps that this hub does not know" in world.axle("status").stdout
    table = world.axle("orphans", "list", name).stdout
    assert "this one" in table
    assert "9f86d081aa" in table
    assert world.axle("orphans", "list", name, "-o", "name").stdout.split() == ["shop/old", "shop/web"]
    nobody = world.axle("orphans", "purge", name, "shop/web", "--of-hub", "9f86d081aa", "--yes")
    assert nobody.exit_code == 2
    assert "AccountUnknown" in nobody.stderr
    assert world.axle("orphans", "purge", name, "shop/web", "--yes").exit_code == 2
    late = world.axle("orphans", "purge", name, "shop/old", "--yes", "--timeout", "0s")
    assert late.exit_code == 1
    path = CLUSTERS.path(name=name)
    (decided,) = world.run(lambda client: client.get(path))["spec"]["purges"]
    assert decided["app"] == "shop/old"
    assert decided["decidedAt"]


def test_an_api_server_without_axletree_is_told_apart(before_axletree: Result) -> None:
    assert before_axletree.exit_code == 2
    assert "has no Axletree" in before_axletree.stderr


@pytest.mark.parametrize("wrong", [["Ü"], ["x" * 64], ["eu1", "--label", "a b=c"], ["eu1", "--ttl", "0s"]])
def test_a_token_that_nobody_could_use_is_not_made(world: World, wrong: list[str]) -> None:
    assert world.axle("token", "create", *wrong).exit_code == 2
