from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from hub.api.project import ProjectSpec
from hub.cli.main import app
from hub.core.expansion import ClusterFacts, ExpansionError, GeneratorError
from hub.core.model import ClusterView, Fleet
from hub.core.needs import ExternalNeed
from hub.core.patterns import matches
from hub.hosts import decisions
from hub.hosts.ask import Asker, Asking
from hub.hosts.errors import HostBusy, HostMisconfigured, HostRefused, HostUnreachable
from hub.hosts.objects import FileObjects, token
from hub.render.expansion import expand_set
from hub.render.runner import InlineRunner
from hub.sources.directory import DirectorySource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.unit.hub.hosts.conftest import Host

PLUGIN = {"configMapRef": {"name": "p"}, "input": {"parameters": {"a": 1}}, "requeueAfterSeconds": 60}
EXECUTE = "/api/v1/getparams.execute"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def objects(base: str, **config: str) -> FileObjects:
    return FileObjects(
        [
            {
                "kind": "ConfigMap",
                "metadata": {"name": "p", "namespace": "shop"},
                "data": {"baseUrl": base, "token": "$s:token", **config},
            },
            {"kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "data": {"token": "dDBrZW4="}},
            {
                "kind": "ConfigMap",
                "metadata": {"name": "ocm"},
                "data": {
                    "apiVersion": "cluster.open-cluster-management.io/v1beta1",
                    "kind": "placementdecisions",
                    "statusListKey": "decisions",
                    "matchKey": "clusterName",
                },
            },
            *(
                {
                    "apiVersion": "cluster.open-cluster-management.io/v1beta1",
                    "kind": "PlacementDecision",
                    "metadata": {"name": f"d{at}", "labels": {"placement": "x"}},
                    "status": {"decisions": [{"clusterName": name, "reason": "r"}]},
                }
                for at, name in enumerate(("eu2", "eu1", "unknown"))
            ),
        ]
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def asker(host: Host, clock: Clock) -> AsyncIterator[Asker]:
    found = Asker(objects(host.base), clock=clock)
    yield found
    await found.close()


def need(kind: str, spec: dict[str, Any]) -> ExternalNeed:
    return ExternalNeed(kind, json.dumps(spec))


SHOP = Asking("shop", "apps")


async def test_a_plugin_is_asked_by_its_protocol_and_not_too_often(
    host: Host, asker: Asker, clock: Clock
) -> None:
    bodies = []

    async def execute(request: web.Request) -> web.Response:
        bodies.append((request.headers["Authorization"], await request.json()))
        return web.json_response({"output": {"parameters": [{"n": len(bodies)}]}})

    host.routes[EXECUTE] = execute
    assert await asker.answer(need("plugin", PLUGIN), SHOP) == [{"n": 1}]
    assert await asker.answer(need("plugin", PLUGIN), SHOP) == [{"n": 1}]
    assert bodies == [
        ("Bearer t0ken", {"applicationSetName": "apps", "input": {"parameters": {"a": 1}}}),
    ]
    assert asker.due() == set()
    clock.now = 61
    assert asker.due() == {"shop/apps"}
    assert asker.due() == set(), "told once"
    assert await asker.answer(need("plugin", PLUGIN), SHOP) == [{"n": 2}]
    assert await asker.answer(need("plugin", PLUGIN), SHOP, fresh=True) == [{"n": 3}]
    clock.now = 10_000
    assert asker.due() == set(), "what nobody asks for any more is forgotten"


@pytest.mark.parametrize(
    "answer", [{}, [], {"output": {}}, {"output": {"parameters": {}}}, {"output": 1}, "x"]
)
async def test_a_plugin_that_answers_something_else_gives_nothing(
    host: Host, asker: Asker, answer: Any
) -> None:
    host.routes[EXECUTE] = answer
    with pytest.raises(HostUnreachable):
        await asker.answer(need("plugin", PLUGIN), SHOP)


async def test_a_slow_plugin_is_left(host: Host, clock: Clock) -> None:
    gone = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await gone.wait()
        return web.json_response({})

    host.routes[EXECUTE] = slow
    asker = Asker(objects(host.base, requestTimeout="1"), clock=clock)
    try:
        with pytest.raises(HostUnreachable, match="Timeout"):
            await asker.answer(need("plugin", PLUGIN), SHOP)
    finally:
        gone.set()
        await asker.close()


async def test_f11_a_host_that_limits_us_is_left_alone_until_it_said(
    host: Host, asker: Asker, clock: Clock
) -> None:
    async def limited(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "50"})

    host.routes[EXECUTE] = limited
    for _ in range(3):
        with pytest.raises(HostBusy):
            await asker.answer(need("plugin", PLUGIN), SHOP, fresh=True)
    assert len(host.asked) == 1
    clock.now = 51
    with pytest.raises(HostBusy):
        await asker.answer(need("plugin", PLUGIN), SHOP)
    assert len(host.asked) == 2


async def test_s11_a_project_says_whom_its_generators_may_ask(host: Host, asker: Asker) -> None:
    host.routes[EXECUTE] = {"output": {"parameters": []}}
    for hosts, allowed in (([], False), (["https://api.github.com"], False), ([f"{host.base}"], True)):
        project = ProjectSpec(service_account="x", generator_hosts=hosts)
        asking = Asking("shop", f"set-{len(hosts)}-{allowed}", project)
        if allowed:
            assert await asker.answer(need("plugin", PLUGIN), asking) == []
        else:
            with pytest.raises(HostRefused, match="generatorHosts"):
                await asker.answer(need("plugin", PLUGIN), asking)


async def test_only_labelled_secrets_are_read() -> None:
    class Plain(FileObjects):
        async def secret(self, namespace: str, name: str) -> dict[str, Any] | None:
            return {"metadata": {"name": name}, "data": {"token": "dDBrZW4="}}

    with pytest.raises(HostMisconfigured, match="with the label"):
        await token(Plain([]), "shop", {"secretName": "s"})
    with pytest.raises(HostMisconfigured, match="no readable key"):
        await token(objects("http://h"), "shop", {"secretName": "s", "key": "other"})


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("plugin", {"configMapRef": {"nam": "p"}}, 'unknown field; did you mean "name"'),
        ("plugin", {"configMapRef": {"name": "nope"}}, "there is no ConfigMap shop/nope"),
        ("scmProvider", {}, "exactly one of github"),
        ("scmProvider", {"github": {"organisation": "x"}}, 'did you mean "organization"'),
        ("scmProvider", {"github": {"organization": "x", "api": "file:///x"}}, "http or https"),
        ("pullRequest", {"gitea": {"owner": "a", "repo": "b", "api": "http://h", "x": 1}}, "unknown field"),
        ("clusterDecisionResource", {"configMapRef": "ocm"}, "exactly one of name and labelSelector"),
        (
            "clusterDecisionResource",
            {"configMapRef": "ocm", "name": "nope"},
            "there is no placementdecisions",
        ),
    ],
)
async def test_bad_input_is_named(asker: Asker, kind: str, spec: dict[str, Any], message: str) -> None:
    with pytest.raises((ExpansionError, HostMisconfigured, HostRefused, HostUnreachable)) as caught:
        await asker.answer(need(kind, spec), SHOP)
    assert message in str(caught.value)


async def test_an_answer_of_another_shape_is_no_answer(host: Host, asker: Asker) -> None:
    for body in ([{"name": "web"}], {"message": "hello"}, [1]):
        host.routes["/orgs/org/repos"] = body
        spec = {
            "github": {"organization": "org", "api": host.base},
            "filters": [{"repositoryMatch": str(body)[1:3]}],
        }
        with pytest.raises(HostUnreachable, match="form that its host documents"):
            await asker.answer(need("scmProvider", spec), SHOP)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(ab|a)*c", r"(a)\1", "(?=x)", "a*b*c*d*e*f*", "(", "x" * 600])
def test_s7_patterns_that_could_take_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(GeneratorError):
        matches(pattern, "aaaa")


@pytest.mark.parametrize(
    ("pattern", "found"), [("^feature/.*$", True), ("(feature|fix)/", True), ("x{2,3}", False)]
)
def test_patterns_are_searched(pattern: str, *, found: bool) -> None:
    assert matches(pattern, "feature/one") is found


async def test_a_placement_decision_drives_a_set_unchanged(asker: Asker) -> None:
    spec = {
        "generators": [
            {
                "clusterDecisionResource": {
                    "configMapRef": "ocm",
                    "labelSelector": {"matchLabels": {"placement": "x"}},
                    "values": {"why": "{{ reason }}"},
                }
            }
        ],
        "template": {
            "metadata": {"name": "web-{{ name }}", "labels": {"why": "{{ values.why }}"}},
            "spec": {"cluster": "{{ clusterName }}", "sources": [{"repoURL": "https://h/x"}]},
        },
    }
    fleet = Fleet(
        clusters={name: ClusterView(name=name, accepted=True) for name in ("eu1", "eu2", "eu3")},
        cluster_sets={},
        projects={},
    )
    done = await expand_set(
        "shop", "apps", spec, fleet=fleet, source=DirectorySource({}), runner=InlineRunner(), asker=asker
    )
    assert [child.name for child in done.children] == ["web-eu1", "web-eu2"]
    assert done.children[0].manifest["metadata"]["labels"]["why"] == "r"
    with pytest.raises(GeneratorError, match="nobody is there whom clusterDecisionResource could ask"):
        await expand_set("shop", "apps", spec, fleet=fleet, source=DirectorySource({}), runner=InlineRunner())
    assert ClusterFacts("eu1").eligible


@pytest.mark.parametrize(
    ("match_key", "problem"),
    [("clusterName", ""), ("clustername", "has no clustername"), ("reason", "has no reason")],
)
async def test_f13_a_decision_without_the_match_key_is_no_decision_for_nothing(
    match_key: str, problem: str
) -> None:
    """A typing error in a ConfigMap must not look like clusters that were not chosen."""
    api_version = "cluster.open-cluster-management.io/v1beta1"
    data = {"apiVersion": api_version, "kind": "placementdecisions", "matchKey": match_key}
    config = {"kind": "ConfigMap", "metadata": {"name": "ocm"}, "data": data | {"statusListKey": "decisions"}}
    decided = [{"clusterName": "eu1", "reason": "r"}, {"clusterName": ""}]
    head = {"apiVersion": api_version, "kind": "PlacementDecision", "metadata": {"name": "d"}}
    there = FileObjects([config, head | {"status": {"decisions": decided}}])
    asked = {"configMapRef": "ocm", "name": "d"}
    if problem:
        with pytest.raises(HostMisconfigured, match=problem):
            await decisions.ask(there, "default", asked)
    else:
        assert [row["clusterName"] for row in await decisions.ask(there, "default", asked)] == ["eu1"]


async def test_pull_requests_come_and_go(host: Host, asker: Asker, clock: Clock) -> None:
    def pull(number: int) -> dict[str, Any]:
        return {
            "number": number,
            "title": "t",
            "head": {"ref": "b", "sha": "abc"},
            "base": {"ref": "main"},
            "labels": [],
            "user": {"login": "x"},
        }

    spec = {
        "generators": [
            {
                "matrix": {
                    "generators": [
                        {"list": {"elements": [{"repo": "web"}, {"repo": "api"}]}},
                        {"pullRequest": {"github": {"owner": "org", "repo": "{{ repo }}", "api": host.base}}},
                    ]
                }
            }
        ],
        "template": {
            "metadata": {"name": "{{ repo }}-{{ number }}"},
            "spec": {"cluster": "eu1", "sources": [{"repoURL": "https://h/x", "revision": "{{ head_sha }}"}]},
        },
    }
    fleet = Fleet(clusters={"eu1": ClusterView(name="eu1", accepted=True)}, cluster_sets={}, projects={})

    async def children() -> list[str]:
        done = await expand_set(
            "shop", "apps", spec, fleet=fleet, source=DirectorySource({}), runner=InlineRunner(), asker=asker
        )
        return [child.name for child in done.children]

    host.routes |= {"/repos/org/web/pulls": [pull(1), pull(2)], "/repos/org/api/pulls": []}
    assert await children() == ["web-1", "web-2"]
    host.routes |= {"/repos/org/web/pulls": [pull(2)], "/repos/org/api/pulls": [pull(7)]}
    assert await children() == ["web-1", "web-2"], "not asked again yet"
    clock.now = 1801
    assert await children() == ["web-2", "api-7"]


def test_offline_a_decision_in_a_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        """
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {name: apps, namespace: shop}
spec:
  generators: [{clusterDecisionResource: {configMapRef: ocm, name: d}}]
  template:
    metadata: {name: "web-{{ name }}"}
    spec: {cluster: "{{ name }}", sources: [{repoURL: "https://h/x"}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ocm, namespace: argocd}
data: {apiVersion: c.io/v1, kind: placementdecisions, statusListKey: decisions, matchKey: clusterName}
---
apiVersion: c.io/v1
kind: PlacementDecision
metadata: {name: d}
status: {decisions: [{clusterName: eu1}]}
---
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1}
"""
    )
    result = CliRunner().invoke(app, ["expand", "-f", str(tmp_path / "all.yaml"), "-o", "name"])
    assert (result.exit_code, result.stdout.strip()) == (0, "application.axletree.dev/shop/web-eu1"), (
        result.output
    )


async def test_what_moved_is_asked_again_for_the_sets_concerned_alone(host: Host, asker: Asker) -> None:
    counts = iter(range(10))

    async def execute(request: web.Request) -> web.Response:
        return web.json_response({"output": {"parameters": [{"n": next(counts)}]}})

    host.routes[EXECUTE] = execute
    other = Asking("shop", "other")
    assert await asker.answer(need("plugin", PLUGIN), SHOP) == [{"n": 0}]
    assert await asker.answer(need("plugin", PLUGIN), other) == [{"n": 1}]
    asker.expire("shop/apps")
    assert await asker.answer(need("plugin", PLUGIN), other) == [{"n": 1}]
    assert await asker.answer(need("plugin", PLUGIN), SHOP) == [{"n": 2}]
    assert await asker.answer(need("plugin", PLUGIN), SHOP) == [{"n": 2}]
