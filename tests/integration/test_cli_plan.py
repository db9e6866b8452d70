"""`axle plan` over the network: two revisions of a repository that is served, without a hub and against one."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from agent.kube.yaml import load_all
from hub.cli.kinds import APPS, CLUSTERS, PROJECTS, SETS
from hub.cli.main import app
from hub.fleet import install
from tests.integration.git_rig import Author, new_author

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from hub.fleet.controlplane import ControlPlane
    from hub.fleet.githttp import GitServer

SET = """
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {name: shop, namespace: NAMESPACE}
spec:
  generators:
    - matrix:
        generators:
          - clusters: {selector: {matchLabels: {env: prod}}}
          - git: {repoURL: ADDRESS, revision: main, directories: [{path: "apps/*"}]}
  template:
    metadata: {name: "{{ path.basename }}-{{ cluster.name }}", labels: {app: "{{ path.basename }}"}}
    spec:
      cluster: "{{ cluster.name }}"
      namespace: shop
      sources: [{repoURL: ADDRESS, revision: main, path: "{{ path.path }}"}]
---
apiVersion: axletree.dev/v1alpha1
kind: Application
metadata: {name: fixed, namespace: NAMESPACE}
spec: {cluster: eu1, namespace: fixed, sources: [{repoURL: ADDRESS, revision: v1, path: apps/web}]}
"""
CLUSTER = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1, labels: {env: prod}}
spec: {accepted: true}
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {colour: %s}\n"
NOBODY = {"AXLETREE_KUBECONFIG": "", "AXLETREE_HOME": "/nonexistent", "KUBECONFIG": "/nonexistent/config"}


async def axle(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=env or NOBODY)


async def repository(server: GitServer, tmp_path: Path, namespace: str) -> Author:
    """One with a set, an app `web`, the tag v1, and a branch `next` on which `web` differs and `api` is new."""
    author = await new_author(server, tmp_path, "fleet")
    sets = SET.replace("ADDRESS", author.remote).replace("NAMESPACE", namespace)
    await author.commit({"root/shop.yaml": sets, "apps/web/config.yaml": CONFIG % "blue"}, push=False)
    await author.git("tag", "v1")
    await author.push("HEAD:refs/heads/main", "--tags")
    changed = {"apps/web/config.yaml": CONFIG % "green", "apps/api/config.yaml": CONFIG % "red"}
    await author.commit(changed, push=False)
    await author.push("HEAD:refs/heads/next")
    return author


async def test_two_revisions_of_a_repository_that_is_fetched(server: GitServer, tmp_path: Path) -> None:
    author = await repository(server, tmp_path, "shop")
    clusters = tmp_path / "clusters.yaml"
    clusters.write_text(CLUSTER)
    command = ["plan", "--repo", author.remote, "--dir", "root", "--from", "main", "--to", "next"]
    result = await axle(*command, "--clusters", str(clusters), "-o", "json")
    assert result.exit_code == 1, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    changes = {each["app"]: each for each in found["changes"]}
    assert {app: each["action"] for app, each in changes.items()} == {
        "shop/api-eu1": "Added",
        "shop/web-eu1": "Changed",
    }, "the one that reads a tag stays as it is"
    (change,) = changes["shop/web-eu1"]["objects"]
    assert [line for line in change["diff"] if line.startswith("+")] == ["+  colour: green"]
    assert found["order"] == [{"apps": ["shop/api-eu1", "shop/web-eu1"]}]

    same = await axle(*command[:-1], "main", "--clusters", str(clusters))
    assert (same.exit_code, same.stdout) == (0, "plan: 0 added, 0 changed, 0 removed, 0 held, 2 unchanged\n")
    gone = await axle(*command[:-1], "gone", "--clusters", str(clusters))
    assert (gone.exit_code, "RevisionNotFound" in gone.stderr) == (2, True)
    nobody = await axle(*command)
    assert (nobody.exit_code, "NoHub" in nobody.stderr) == (2, True), "no file says which clusters there are"


async def test_what_was_not_named_is_not_fetched(server: GitServer, tmp_path: Path) -> None:
    author = await repository(server, tmp_path, "shop")
    other = await new_author(server, tmp_path, "other")
    await other.commit({"it.yaml": CONFIG % "grey"}, push=False)
    await other.push("HEAD:refs/heads/main")
    text = SET.replace("ADDRESS", author.remote).replace("NAMESPACE", "shop")
    text = text.replace("revision: v1, path: apps/web", "revision: main")
    text = text.replace(f"repoURL: {author.remote}, revision: main}}]}}\n", f"repoURL: {other.remote}}}]}}\n")
    await author.commit({"root/shop.yaml": text}, push=False)
    await author.push("HEAD:refs/heads/next")
    clusters = tmp_path / "clusters.yaml"
    clusters.write_text(CLUSTER)
    command = ["plan", "--repo", author.remote, "--dir", "root", "--from", "main", "--to", "next"]
    command += ["--clusters", str(clusters), "-o", "json"]
    found = json.loads((await axle(*command)).stdout)
    (fixed,) = [each for each in found["changes"] if each["app"] == "shop/fixed"]
    assert "it is not named: say --repo" in fixed["problem"]
    found = json.loads((await axle(*command, "--repo", other.remote)).stdout)
    (fixed,) = [each for each in found["changes"] if each["app"] == "shop/fixed"]
    assert "problem" not in fixed


@pytest.mark.cluster
async def test_against_a_hub_the_change_is_what_has_not_been_planned_yet(
    own_server: ControlPlane, server: GitServer, tmp_path: Path, namespace: str
) -> None:
    author = await repository(server, tmp_path, namespace)
    released = await author.git("rev-parse", "v1^{commit}")
    env = {"AXLETREE_KUBECONFIG": str(own_server.kubeconfig_path), "AXLETREE_HOME": "/nonexistent"}
    async with RestClient(load_kubeconfig(own_server.kubeconfig_path), user_agent="t") as client:
        await _as_a_hub_has_it(client, author.remote, namespace, released)
        command = ["plan", "--repo", author.remote, "--dir", "root", "-o", "json"]
        before = await client.list(APPS.path(namespace))
        nothing = await axle(*command, "--to", "main", env=env)
        assert (nothing.exit_code, json.loads(nothing.stdout)["changes"]) == (0, []), nothing.output
        result = await axle(*command, "--to", "next", env=env)
        assert result.exit_code == 1, result.output
        found = json.loads(result.stdout)
        by_name = {each["app"].partition("/")[2]: each for each in found["changes"]}
        assert {name: each["action"] for name, each in by_name.items()} == {
            "api-eu1": "Added",
            "web-eu1": "Changed",
        }
        assert any("green" in line for line in by_name["web-eu1"]["objects"][0]["diff"])
        assert {(each["app"].partition("/")[2], each["rule"]) for each in found["held"]} == {
            ("api-eu1", "Paused"),
            ("web-eu1", "Paused"),
        }, "the cluster is paused"
        of_files = await axle(*command, "--from", "main", "--to", "next", env=env)
        assert json.loads(of_files.stdout)["changes"] == found["changes"], "with the hub's clusters"
        assert (await client.list(APPS.path(namespace))).items == before.items, "it only reads"


async def _as_a_hub_has_it(client: RestClient, url: str, namespace: str, released: str) -> None:
    """The set, its child and the other Application at the first commit, on a cluster that is paused."""
    await install.install_hub(client)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    await install.apply_all(client, [space])
    base = {"apiVersion": "axletree.dev/v1alpha1"}

    async def put(kind: Any, name: str, spec: Any, status: Any = None, **metadata: Any) -> None:
        scope = {} if kind is CLUSTERS else {"namespace": namespace}
        obj = base | {"kind": kind.kind, "metadata": {"name": name, **scope, **metadata}, "spec": spec}
        path = kind.path(scope.get("namespace", ""), name)
        await client.apply(path, obj, field_manager="tests")
        if status is not None:
            await client.merge_patch(path, {"status": status}, subresource="status")

    paused = {"axletree.dev/paused": "true"}
    await put(
        CLUSTERS,
        "eu1",
        {"accepted": True},
        {"sealingKey": "x"},
        labels={"env": "prod"},
        annotations=paused,
    )
    everywhere = {"clusters": ["*"], "namespaces": ["*"]}
    project = {"sourceRepos": ["**"], "serviceAccount": "deployer", "destinations": [everywhere]}
    await put(PROJECTS, "project", project)
    documents = list(load_all(SET.replace("ADDRESS", url).replace("NAMESPACE", namespace), source="set"))
    await put(SETS, "shop", documents[0]["spec"], {"plan": {"id": 1}})
    sync = {"sync": {"state": "Synced", "plan": 1, "revision": released}}
    await put(APPS, "fixed", documents[1]["spec"], sync)
    template = documents[0]["spec"]["template"]["spec"]
    spec = template | {
        "cluster": "eu1",
        "sources": [{"repoURL": url, "revision": "main", "path": "apps/web"}],
    }
    labels = {"app": "web", "axletree.dev/application-set": "shop", "axletree.dev/cluster": "eu1"}
    await put(APPS, "web-eu1", spec, sync, labels=labels)
