"""The API of a real hub over a real fleet: who may see what, waiting for a commit, events, acts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import ssl
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from typer.testing import CliRunner

from agent.contract.errors import ApiError
from agent.contract.names import (
    ANNOTATION_PAUSED,
    ANNOTATION_PIN,
    ANNOTATION_REFRESH,
    HUB_NAMESPACE,
    LABEL_VALUES,
)
from hub.api.registry import APPLICATION, APPLICATION_SET
from hub.cli.main import app
from hub.gateway.identity import SECRET_NAME, HubIdentity
from hub.operator.binder import DEBOUNCE
from hub.web.asked import AppQuery, EventQuery
from hub.web.client import Client
from hub.web.connection import ApiProblem
from hub.web.policy import PREFIX, ROUTES, Access
from tests.integration.hub_rig import SHOP, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.kube.client import RestClient
    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
READ = [{"apiGroups": ["axletree.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
CHART: dict[str, str | None] = {
    "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "chart/values.yaml": "replicas: 1\npassword: ''\nhost: ''\n",
    "chart/templates/all.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: {{ .Values.password | quote }}}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
        "data: {host: {{ .Values.host | quote }}, replicas: {{ .Values.replicas | quote }}}\n"
    ),
}


class Api:
    """One caller."""

    def __init__(self, session: aiohttp.ClientSession, token: str) -> None:
        self.token = token
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        async with self._session.get(PREFIX + path, params=params, headers=self._headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self._session.post(PREFIX + path, json=body, headers=self._headers | headers) as answer:
            return answer.status, await answer.json(content_type=None)

    @asynccontextmanager
    async def events(self, *, last: str = "", **params: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        headers = self._headers | ({"Last-Event-ID": last} if last else {})
        async with self._session.get(f"{PREFIX}/events", params=params, headers=headers) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/event-stream"
            yield _events(answer)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    fields: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if not line:
            if "data" in fields:
                event = json.loads(fields["data"])
                assert (str(event["id"]), event["reason"]) == (fields["id"], fields["event"])
                yield event
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


class World:
    def __init__(self, shop: Fleet, session: aiohttp.ClientSession, *, url: str, ca: str) -> None:
        self.shop, self.session, self.url, self.ca = shop, session, url, ca

    async def caller(self, name: str, rules: Any, *, everywhere: bool = False) -> Api:
        """A ServiceAccount with these rights, in the shop's namespace or in all."""
        client, namespace = self.shop.client, self.shop.namespace
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        await _make(client, f"{account}/{name}", {"apiVersion": "v1", "kind": "ServiceAccount"})
        kind = "ClusterRole" if everywhere else "Role"
        where = RBAC if everywhere else f"{RBAC}/namespaces/{namespace}"
        called = f"{namespace}-{name}"
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "rules": rules}
        await _make(client, f"{where}/{kind.lower()}s/{called}", role)
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{kind}Binding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": called},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        await _make(client, f"{where}/{kind.lower()}bindings/{called}", binding)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = (await client.request("POST", f"{account}/{name}/token", body=request))["status"]["token"]
        return Api(self.session, token)

    async def commit(self, **values: str) -> str:
        await self.shop.commit(**values)
        return await self.shop.author.git("rev-parse", "HEAD")


async def _make(client: RestClient, path: str, manifest: dict[str, Any]) -> None:
    parts = path.split("/")
    metadata = {"name": parts[-1]} | (
        {"namespace": parts[parts.index("namespaces") + 1]} if "namespaces" in parts else {}
    )
    await client.apply(path, manifest | {"metadata": metadata}, field_manager="tests", force=True)


@pytest.fixture
async def world(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(fleet(own_server, namespace, tmp_path))
        port, api = free_port(), free_port()
        await shop.hub("first", port, api_port=api)
        await shop.join(port)
        await shop.shop()
        identity = await HubIdentity.load_or_create(shop.client, now=datetime.now(UTC))
        session = aiohttp.ClientSession(
            base_url=f"https://127.0.0.1:{api}",
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=identity.ca_pem)),
            timeout=aiohttp.ClientTimeout(total=60),
        )
        await stack.enter_async_context(session)
        made = World(shop, session, url=f"https://127.0.0.1:{api}", ca=identity.ca_pem)
        reader = await made.caller("reader", READ)

        async def well() -> bool:
            try:
                status, page = await reader.get("/applications", health="Healthy", sync="Synced")
            except aiohttp.ClientConnectorError:
                return False
            return status == 200 and page["total"] == len(SHOP) + 1

        await shop.until("the API tells of a healthy fleet", well)
        yield made


async def test_s10_every_route_asks_who_and_what_is_hidden_looks_as_if_it_were_not_there(
    world: World,
) -> None:
    shop = world.shop
    nobody, powerless = Api(world.session, ""), await world.caller("powerless", [])
    bad = Api(world.session, "made-up")
    for route in ROUTES:
        there = route.path.format(
            namespace=shop.namespace, name="db" if "applications/" in route.path else "shop"
        )
        missing = route.path.format(namespace=shop.namespace, name="nothing")
        ask = "post" if route.act else "get"
        status, said = await getattr(nobody, ask)(there)
        if route.access is Access.PUBLIC:
            assert status == 200
            continue
        assert (status, said["reason"]) == (401, "Unauthenticated"), route
        assert (await getattr(bad, ask)(there))[0] == 401, route
        if route.name == "events":
            continue
        status, said = await getattr(powerless, ask)(there)
        match route.access:
            case Access.NAMED:
                assert (status, said) == await getattr(powerless, ask)(missing), route
                assert (status, said["reason"]) == (404, "NotFound"), route
            case Access.CLUSTER:
                assert (status, said["reason"]) == (403, "Forbidden"), route
            case Access.VISIBLE:
                assert status == 200, route
                assert not said.get("items"), route
                assert not any(
                    said.get(name)
                    for name in ("total", "health", "cluster", "namespace", "nodes", "edges", "id")
                ), route
    for path in ("/nothing", "/applications/..%2F..%2Fsecrets/x", f"/applications/{shop.namespace}/..%2Fdb"):
        reader = await world.caller("reader", READ)
        status, said = await reader.get(path)
        assert (status, said["title"], said["status"]) == (404, "NotFound", 404)


async def test_what_is_read_is_what_there_is(world: World) -> None:
    shop = world.shop
    reader = await world.caller("reader", READ)
    first = (await reader.get("/applications", limit=3))[1]
    rest = (await reader.get("/applications", limit=3, cursor=first["nextCursor"]))[1]
    assert [each["name"] for each in first["items"] + rest["items"]] == ["api", "db", "extra", "web"]
    assert (first["total"], rest["nextCursor"]) == (4, "")
    ours = (await reader.get("/applications", applicationSet=f"{shop.namespace}/shop", q="web"))[1]
    assert [each["name"] for each in ours["items"]] == ["web"]
    label = (await reader.get("/applications", label=f"axletree.dev/cluster={shop.cluster}"))[1]
    assert label["total"] == 3
    facets = (await reader.get("/facets"))[1]
    assert facets["health"] == {"Healthy": 4}
    assert facets["cluster"] == {shop.cluster: 4}
    status, said = await reader.get("/applications", helth="Healthy")
    assert (status, said["reason"]) == (400, "InvalidRequest")
    detail = (await reader.get(f"/applications/{shop.namespace}/web"))[1]
    assert detail["app"]["ready"]
    assert detail["sources"][0]["path"] == "apps/web"
    assert (await reader.get(f"/applications/{shop.namespace}/web/why"))[1] == {
        "waits": False,
        "root": "",
        "blockedBy": [],
    }
    history = (await reader.get(f"/applications/{shop.namespace}/web/history"))[1]
    assert [(each["release"], each["well"]) for each in history["items"]] == [(1, True)]
    assert (await reader.get(f"/applications/{shop.namespace}/web/outputs"))[1]["items"] == []
    (summary,) = (await reader.get("/applicationsets"))[1]["items"]
    assert (summary["name"], summary["children"], summary["ready"]) == ("shop", 3, True)
    tree = (await reader.get(f"/applicationsets/{shop.namespace}/shop/tree"))[1]
    assert (tree["set"], [each["name"] for each in tree["children"]]) == (summary, ["api", "db", "web"])
    plan = (await reader.get(f"/applicationsets/{shop.namespace}/shop/plan"))[1]
    assert (plan["id"], plan["revisions"]) == (summary["plan"], summary["revisions"])
    (project,) = (await reader.get("/projects"))[1]["items"]
    assert (project["namespace"], project["applications"]) == (shop.namespace, 4)
    assert (await reader.get("/clusters"))[0] == 403
    admin = await world.caller("admin", READ, everywhere=True)
    clusters = (await admin.get("/clusters"))[1]["items"]
    assert ("Connected", False) in [
        (each["state"], each["paused"]) for each in clusters if each["name"] == shop.cluster
    ]
    ca = ssl.create_default_context(cadata=world.ca)
    async with Client(world.url, token=reader.token, ca=ca) as client:
        page = await client.list_applications(
            AppQuery(health=["Healthy"], label=["axletree.dev/cluster"], limit=2)
        )
        assert ([each.name for each in page.items], page.total) == (["api", "db"], 3)
        assert (await client.application(shop.namespace, "web")).app.ready
        with pytest.raises(ApiProblem) as refused:
            await client.pause_application(shop.namespace, "web", key="x")
        assert (refused.value.status, refused.value.reason) == (403, "Forbidden")
        following = client.follow(EventQuery(reason=["Released"]), last=1)
        assert (await asyncio.wait_for(anext(following), 20)).reason == "Released"
        await following.aclose()
    await _drawn(reader, shop)
    happened = (await reader.get("/events/list", reason="Released", kind="Application"))[1]["items"]
    assert {each["name"] for each in happened} == {*SHOP, "extra"}


async def _drawn(reader: Api, shop: Fleet) -> None:
    graph = (await reader.get("/graph", namespace=shop.namespace))[1]
    ends = sorted(
        (each["dependent"].split("/")[1], each["dependency"].split("/")[1]) for each in graph["edges"]
    )
    assert ends == [("api", "db"), ("web", "api")]
    assert [each["key"].split("/")[1] for each in graph["nodes"]] == ["api", "db", "extra", "web"]
    diff = (await reader.get(f"/applications/{shop.namespace}/web/diff"))[1]
    assert (diff["same"], diff["drift"]) == (True, [])


async def test_a_commit_is_waited_for_until_it_is_everywhere_or_has_failed(world: World) -> None:
    shop = world.shop
    path = f"/applicationsets/{shop.namespace}/shop/rollout"
    reader = await world.caller("reader", READ)
    steer = [{"apiGroups": ["axletree.dev"], "resources": ["applicationsets"], "verbs": ["refresh"]}]
    pipeline = await world.caller("pipeline", READ + steer)
    assert (await reader.get(path, revision="f" * 40))[1]["state"] == "Pending"

    commit = await world.commit(db="2", web="2")
    waiting = asyncio.create_task(reader.get(path, revision=commit, wait="60s", until="End"))
    assert (await pipeline.post(f"/applicationsets/{shop.namespace}/shop/refresh"))[0] == 200
    status, said = await waiting
    assert (status, said["state"], said["where"], said["children"]) == (200, "Healthy", [], 3)
    await shop.deployed("web", "2")
    assert (await reader.get(path, revision=commit[:8]))[1]["state"] == "Healthy"
    code, printed = await _axle(world, reader, "rollout", f"{shop.namespace}/shop", "--revision", commit)
    assert (code, f"{commit} is Healthy (3/3 Healthy)" in printed) == (0, True), printed
    code, printed = await _axle(world, reader, "events", "--after", "1", "--count", "1", "-o", "json")
    assert (code, json.loads(printed)["id"] > 1) == (0, True), printed

    await shop.author.commit(
        {
            "apps/web/it.yaml": json.dumps(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x" * 300}, "data": {}}
            )
        }
    )
    bad = await shop.author.git("rev-parse", "HEAD")
    waiting = asyncio.create_task(reader.get(path, revision=bad, wait="60s", until="End"))
    await pipeline.post(f"/applicationsets/{shop.namespace}/shop/refresh")
    status, said = await waiting
    assert (said["state"], [each["application"] for each in said["where"]]) == (
        "Failed",
        [f"{shop.namespace}/web"],
    )
    assert said["where"][0]["message"]
    assert (await reader.get(path, revision=commit))[1]["state"] == "Superseded"
    code, printed = await _axle(world, reader, "rollout", f"{shop.namespace}/shop", "--revision", bad)
    assert (code, f"{shop.namespace}/web on {shop.cluster}: Failed" in printed) == (1, True), printed
    status, said = await reader.get(path, revision=bad, wait="1s")
    assert (status, said["state"]) == (200, "Failed")
    await shop.author.commit({"apps/web/it.yaml": None, "README.md": "what is here"})
    await _of_no_concern(world, pipeline, path)
    await _not_to_be_planned(world, pipeline, path)


async def _of_no_concern(world: World, pipeline: Api, path: str) -> None:
    """A commit that changes nothing that the set reads is everywhere as soon as it is planned."""
    shop = world.shop
    await shop.commit(web="3")
    await pipeline.post(f"/applicationsets/{shop.namespace}/shop/refresh")
    await shop.deployed("web", "3")
    await shop.settled()
    await shop.author.commit({"README.md": "of no concern to any app"})
    commit = await shop.author.git("rev-parse", "HEAD")
    asked = asyncio.get_running_loop().time()
    waiting = asyncio.create_task(pipeline.get(path, revision=commit, wait="40s", until="End"))
    await pipeline.post(f"/applicationsets/{shop.namespace}/shop/refresh")
    assert (await waiting)[1]["state"] == "Healthy"
    assert asyncio.get_running_loop().time() - asked < 30


async def _not_to_be_planned(world: World, pipeline: Api, path: str) -> None:
    """A commit whose files make no plan has failed: who waits for it is told at once, and what runs goes on."""
    shop = world.shop
    spec = {
        "generators": [
            {"git": {"repoURL": shop.repo, "revision": "main", "files": [{"path": "sets/*.yaml"}]}}
        ],
        "template": {"metadata": {"name": "{{ name }}"}, "spec": shop.spec("{{ of }}")},
    }
    await shop.commit(one="1")
    await shop.author.commit({"sets/one.yaml": "name: one\nof: one\n"})
    await shop.put(APPLICATION_SET, "files", spec, annotations={ANNOTATION_REFRESH: "1"})
    commit, path = await shop.author.git("rev-parse", "HEAD"), path.replace("/shop/", "/files/")

    async def well() -> bool:
        status, said = await pipeline.get(path, revision=commit, wait="10s", until="End")
        return status == 200 and said["state"] == "Healthy"

    await shop.until("the files are planned", well)
    await shop.author.commit({"sets/one.yaml": "name: one\n"})
    bad = await shop.author.git("rev-parse", "HEAD")
    waiting = asyncio.create_task(pipeline.get(path, revision=bad, wait="60s", until="End"))
    await pipeline.post(f"/applicationsets/{shop.namespace}/files/refresh")
    said = (await waiting)[1]
    assert (said["state"], "no plan can be made of it" in said["message"]) == ("Failed", True), said
    assert (await pipeline.get(path, revision=commit))[1]["state"] == "Healthy"
    await shop.author.commit({"sets/one.yaml": "name: one\nof: one\n"})
    good = await shop.author.git("rev-parse", "HEAD")
    waiting = asyncio.create_task(pipeline.get(path, revision=good, wait="60s", until="End"))
    await pipeline.post(f"/applicationsets/{shop.namespace}/files/refresh")
    assert (await waiting)[1]["state"] == "Healthy"
    assert (await pipeline.get(path, revision=bad))[1]["state"] != "Failed"


async def _axle(world: World, caller: Api, *arguments: str) -> tuple[int, str]:
    """The command line, as a pipeline runs it."""
    ca = world.shop.folder / "ca.pem"
    ca.write_text(world.ca)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub.cli.main", *arguments),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"AXLETREE_API": world.url, "AXLETREE_CA": str(ca), "AXLETREE_TOKEN": caller.token},
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, printed.decode()


async def test_events_come_as_they_happen_and_resume_where_they_were(world: World) -> None:
    shop = world.shop
    reader = await world.caller("reader", READ)
    other = await world.caller("powerless", [])
    owner = f"{shop.namespace}/shop"
    seen: list[dict[str, Any]] = []
    async with other.events() as nothing, reader.events(applicationSet=owner, reason="Released") as stream:
        hidden = asyncio.ensure_future(anext(aiter(nothing)))
        await shop.release(db="5")
        seen.append(await asyncio.wait_for(anext(stream), 20))
        assert (seen[0]["name"], seen[0]["new"]) == ("db", "2")
        assert not hidden.done()
        hidden.cancel()
    await shop.release(db="6", web="6")  # while nobody listens
    async with reader.events(applicationSet=owner, reason="Released", last=str(seen[0]["id"])) as stream:
        missed = [await asyncio.wait_for(anext(stream), 20) for _ in range(2)]
        assert sorted((each["name"], each["new"]) for each in missed) == [("db", "3"), ("web", "2")]
        assert all(each["id"] > seen[0]["id"] for each in missed)
        await shop.release(api="6")
        assert (await asyncio.wait_for(anext(stream), 20))["name"] == "api"


async def test_acts_are_done_once_for_a_key_by_who_may_and_are_written_down(world: World) -> None:
    shop = world.shop
    verbs = [
        {
            "apiGroups": ["axletree.dev"],
            "resources": ["applications"],
            "verbs": ["pause", "resume", "rollback"],
        }
    ]
    reader, person = await world.caller("reader", READ), await world.caller("person", READ + verbs)
    path = f"/applications/{shop.namespace}/web"
    status, said = await reader.post(f"{path}/pause")
    assert (status, said["reason"]) == (403, "Forbidden")
    assert (await person.post(f"{path}/approve"))[0] == 403

    key = {"Idempotency-Key": "abc"}
    once = await person.post(f"{path}/pause", **key)
    assert (once[0], once[1]["changed"]) == (200, ["it is paused"])
    assert await person.post(f"{path}/pause", **key) == once
    status, said = await person.post(f"{path}/resume", **key)
    assert (status, said["reason"]) == (409, "IdempotencyKeyInUse")
    status, said = await person.post(f"{path}/pause")
    assert (status, said["reason"]) == (409, "NothingToDo")
    assert (await shop.app("web"))["metadata"]["annotations"][ANNOTATION_PAUSED] == "true"
    assert (await person.post(f"{path}/resume"))[0] == 200

    status, said = await person.post(f"{path}/rollback")
    assert (status, said["reason"]) == (409, "NothingToDo")  # there is no other release yet
    await shop.release(web="2")

    async def two() -> bool:
        page = (await reader.get(f"{path}/history"))[1]["items"]
        return [each["release"] for each in page if each["well"]] == [2, 1]

    await shop.until("both releases were well", two)
    status, said = await person.post(f"{path}/rollback", {"release": 1})
    assert (status, said["act"]) == (200, "rollback"), said
    await shop.deployed("web", "1")
    assert (await shop.app("web"))["metadata"]["annotations"][ANNOTATION_PIN]
    assert (await person.post(f"{path}/rollback", {"undo": True}))[0] == 200
    await shop.deployed("web", "2")
    status, said = await person.post(f"{path}/rollback", {"relase": 1})
    assert (status, said["reason"]) == (400, "InvalidRequest")

    auditor = await world.caller("auditor", READ, everywhere=True)
    entries = (await auditor.get("/audit"))[1]["items"]
    mine = [(each["act"], each["outcome"]) for each in entries if each["who"].endswith(":person")]
    assert mine[:2] == [("rollback", "Done"), ("rollback", "Done")]
    assert mine[-2:] == [("pause", "NothingToDo"), ("pause", "Done")]
    assert {each["source"] for each in entries} == {"127.0.0.1"}


async def test_an_act_ends_though_its_caller_went_and_is_done_once_for_its_key(world: World) -> None:
    shop = world.shop
    verbs = [{"apiGroups": ["axletree.dev"], "resources": ["applications"], "verbs": ["refresh"]}]
    person = await world.caller("hasty", READ + verbs)
    path = f"/applications/{shop.namespace}/extra/refresh"
    for number in range(12):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(person.post(path, **{"Idempotency-Key": f"k{number}"}), number * 0.004)

        async def answered(key: str = f"k{number}") -> bool:
            status, said = await person.post(path, **{"Idempotency-Key": key})
            assert status == 200 or said["reason"] == "IdempotencyKeyInUse", said
            return status == 200

        await shop.until("the same key is answered", answered)
    both = await asyncio.gather(*(person.post(path, **{"Idempotency-Key": "twice"}) for _ in range(4)))
    assert {status for status, _ in both} <= {200, 409}
    auditor = await world.caller("auditor", READ, everywhere=True)
    entries = (await auditor.get("/audit", limit=200))[1]["items"]
    mine = [each for each in entries if each["who"].endswith(":hasty")]
    done = Counter(each["detail"]["idempotencyKey"] for each in mine if each["outcome"] == "Done")
    assert done == dict.fromkeys((*(f"k{number}" for number in range(12)), "twice"), 1)
    assert {each["outcome"] for each in mine} == {"Done"}


async def test_hostile_questions_are_refused_as_problems(world: World) -> None:
    reader = await world.caller("reader", READ)
    for path, parameters in (
        ("/events/list", {"cursor": "9" * 400}),
        ("/events/list", {"cursor": "\u0663"}),
        ("/events", {"cursor": "9" * 30}),
        ("/audit", {"cursor": "-1"}),
        ("/applications", {"q": "a\x00b"}),
        ("/applications", {"limit": "501"}),
        ("/applications", {"cursor": "x" * 600}),
        ("/objects/applications", {"cursor": "e30="}),
        ("/objects/applications", {"cursor": "\u00e9"}),
        ("/objects/applications", {"labelSelector": "!!"}),
        ("/objects/applications", {"namespace": "../secrets"}),
        (f"/applicationsets/{world.shop.namespace}/shop/rollout", {"revision": "main"}),
        (f"/applicationsets/{world.shop.namespace}/shop/rollout", {"revision": "c0ffee1", "wait": "1e9"}),
    ):
        status, said = await reader.get(path, **parameters)
        if path == "/audit":
            assert status == 403
            continue
        assert (status, said.get("reason")) == (400, "InvalidRequest"), (path, said)
    place = (await reader.get("/objects/applications", limit=1))[1]
    _, token = json.loads(base64.urlsafe_b64decode(place["nextCursor"]))
    for other in ("kube-system", "default"):
        forged = base64.urlsafe_b64encode(json.dumps([other, token]).encode()).decode()
        items = (await reader.get("/objects/applications", limit=5, cursor=forged))[1]["items"]
        assert {each["metadata"]["namespace"] for each in items} <= {world.shop.namespace}
    first = (await reader.get("/events/list", limit=1))[1]["items"][0]["id"]
    async with reader.events(last="900000000", reason="Released") as stream:
        told = await asyncio.wait_for(anext(stream), 20)
        assert told["reason"] == "EventsMissed"
        assert told["id"] < first
        assert (await asyncio.wait_for(anext(stream), 20))["reason"] == "Released"


async def test_what_a_program_made_elsewhere_is_an_output_like_any_other(world: World) -> None:
    shop = world.shop
    verbs = [{"apiGroups": ["axletree.dev"], "resources": ["applications"], "verbs": ["export"]}]
    reader, terraform = await world.caller("reader", READ), await world.caller("terraform", READ + verbs)
    await shop.put(
        APPLICATION,
        "extra",
        shop.spec("extra")
        | {
            "outputs": [
                {"name": "bucket", "external": True, "schema": {"type": "string"}},
                {"name": "any", "external": True},
            ]
        },
    )
    patch = {"kind": "ConfigMap", "metadata": {"name": "db"}, "data": {"value": "{{ inputs.store }}"}}
    consumer = shop.spec("db") | {
        "namespace": f"{shop.namespace}-consumer",
        "inputs": [{"as": "store", "name": "extra", "output": "bucket"}],
        "patches": [{"patch": json.dumps(patch | {"apiVersion": "v1"})}],
    }
    await shop.put(APPLICATION, "consumer", consumer)

    async def waits() -> bool:
        said = await reader.get(f"/applications/{shop.namespace}/consumer/why")
        return said[0] == 200 and bool(said[1]["waits"])

    await shop.until("the consumer waits for it", waits)
    path = f"/applications/{shop.namespace}/extra/export"
    assert (await reader.post(path, {"output": "bucket", "value": "b-1"}))[0] == 403
    status, said = await terraform.post(path, {"output": "bucket", "value": 1})
    assert (status, said["reason"]) == (400, "InvalidRequest")
    assert (await terraform.post(path, {"output": "other", "value": "x"}))[0] == 409
    assert (await terraform.post(path))[0] == 400

    async def posted(value: str) -> None:
        async def taken() -> bool:
            return (await terraform.post(path, {"output": "bucket", "value": value}))[0] == 200

        async def there() -> bool:
            found = await shop._get(f"/api/v1/namespaces/{shop.namespace}-consumer/configmaps/db")
            return found is not None and found["data"] == {"value": value}

        await shop.until("the value is taken", taken)
        await shop.until(f"the consumer has {value}", there)

    await posted("b-1")
    await posted("b-2")
    environment = {
        "AXLETREE_KUBECONFIG": str(shop.server.kubeconfig_path),
        "AXLETREE_HOME": str(shop.folder / "none"),
    }
    arguments = ("outputs", f"{shop.namespace}/extra", "-o", "json")
    told = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
    assert [(each["name"], each["value"]) for each in json.loads(told.stdout)] == [("bucket", "b-2")]
    outputs = (await reader.get(f"/applications/{shop.namespace}/extra/outputs"))[1]["items"]
    assert [each["value"] for each in outputs][:1] == ["b-2"]
    for value in ("x" * 2000, 10**30, json.loads("[" * 40 + "]" * 40)):
        status, said = await terraform.post(path, {"output": "any", "value": value})
        assert (status, said["reason"]) == (400, "InvalidRequest"), said
    for other in (100.0, {"a": [7.0]}):
        assert (await terraform.post(path, {"output": "any", "value": other}))[0] == 200
    held = {each["name"]: each["value"] for each in (await shop.app("extra"))["status"]["external"]}
    assert held == {"bucket": "b-2", "any": {"a": [7]}}
    too_many = [{"name": f"o{number}", "external": True} for number in range(33)]
    with pytest.raises(ApiError, match="32"):
        await shop.put(APPLICATION, "extra", shop.spec("extra") | {"outputs": too_many})
    await posted("{{ inputs.store }} {{ 7 * 7 }} ${HOME} <b>")  # data, whatever it looks like
    await _flaps(world, terraform, path)
    await _is_served_by_the_next_ca(world)


async def _flaps(world: World, terraform: Api, path: str) -> None:
    """F48: what changes for ever is not followed for ever; what was taken last stays, and it is said."""
    shop = world.shop
    number = 0

    async def told() -> bool:
        nonlocal number
        number += 1
        await terraform.post(path, {"output": "bucket", "value": f"flap-{number}"})
        return "InputsFlapping" in json.dumps((await shop.app("consumer"))["status"].get("blockedBy"))

    await shop.until("it is told that its inputs flap", told)
    status = (await shop.app("consumer"))["status"]
    taken = status["inputs"][0]["value"]
    assert (len(status["inputChanges"]), taken.startswith("flap-")) == (6, True)

    async def has_it() -> bool:
        found = await shop.client.get(f"/api/v1/namespaces/{shop.namespace}-consumer/configmaps/db")
        return bool(found["data"] == {"value": taken})

    await shop.until("it has what was taken last", has_it)
    assert (await terraform.post(path, {"output": "bucket", "value": "later"}))[0] in (200, 503)
    await asyncio.sleep(2 * DEBOUNCE)  # nothing is to happen
    assert (await shop.app("consumer"))["status"]["inputs"][0]["value"] == taken
    assert await has_it()


async def _is_served_by_the_next_ca(world: World) -> None:
    """A replaced CA is in use at once, also by the API: whoever trusts the next one alone is served."""
    path = f"/api/v1/namespaces/{HUB_NAMESPACE}/secrets/{SECRET_NAME}"
    held = await world.shop.client.get(path)
    following = HubIdentity.from_secret(held).announced(now=datetime.now(UTC)).activated()
    await world.shop.client.replace(path, following.to_secret() | {"metadata": held["metadata"]})
    trusted = ssl.create_default_context(cadata=following.ca_pem)

    async def served() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{world.url}{PREFIX}/openapi.json", ssl=trusted) as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

    await world.shop.until("the API shows a certificate of the next CA", served)


async def test_i5_what_the_api_explains_has_no_secret_value_in_it(world: World) -> None:
    shop = world.shop
    word, metadata = "hunter2-and-more", {"namespace": shop.namespace, "name": "db-password"}
    await _make(
        shop.client,
        f"/api/v1/namespaces/{shop.namespace}/secrets/db-password",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "stringData": {"values.yaml": f"password: {word}\nreplicas: 3\n"},
        },
    )
    labels = {"metadata": metadata | {"labels": {LABEL_VALUES: "true"}}}
    await shop.client.merge_patch(f"/api/v1/namespaces/{shop.namespace}/secrets/db-password", labels)
    await shop.author.commit(CHART)
    source = {"repoURL": shop.repo, "revision": "main", "path": "chart"}
    helm = {"valuesFrom": [{"kind": "Secret", "name": "db-password"}], "values": "host: db.example.com\n"}
    await shop.put(
        APPLICATION,
        "chart",
        shop.spec("chart") | {"sources": [source | {"helm": helm}]},
        annotations={ANNOTATION_REFRESH: "1"},
    )
    path = f"/applications/{shop.namespace}/chart"
    reader = await world.caller("reader", READ)
    explains = [{"apiGroups": ["axletree.dev"], "resources": ["applications"], "verbs": ["explain"]}]
    person = await world.caller("person", READ + explains)

    async def rendered() -> bool:
        return bool((((await shop.app("chart")).get("status") or {}).get("sync") or {}).get("target"))

    await shop.until("it is rendered", rendered)
    status, said = await reader.get(f"{path}/explain", object="secret/s")
    assert (status, said["reason"]) == (403, "Forbidden")
    told = {}
    for what, field in (("secret/s", ""), ("secret/s", ".stringData.password"), ("ConfigMap/c", ".data")):
        status, told[what, field] = await person.get(f"{path}/explain", object=what, field=field)
        assert status == 200, told
    assert word not in json.dumps(list(told.values()))
    assert [each["after"] for each in told["secret/s", ".stringData.password"]["layers"]] == ["(secret)"] * 2
    layers = [
        (each["stage"], each["change"], each["after"]) for each in told["ConfigMap/c", ".data"]["layers"]
    ]
    assert layers == [
        ("chart defaults", "Added", {"host": "", "replicas": "1"}),
        ("Secret " + f"{shop.namespace}/db-password: values.yaml", "Changed", "(secret)"),
        ("helm.values", "Changed", "db.example.com"),
    ]
    for parameters, reason in (
        ({"object": "service/s"}, "NoSuchObject"),
        ({"object": "secret/s", "field": ".data.nothing"}, "NoSuchField"),
        ({"object": "secret/s", "field": ".["}, "NoSuchField"),
    ):
        status, said = await person.get(f"{path}/explain", **parameters)
        assert (status, said["reason"]) == (422, reason)
    assert (await person.get(f"{path}/explain", object="secret"))[0] == 400
    code, printed = await _axle(
        world, person, "explain", f"{shop.namespace}/chart", "ConfigMap/c", ".data.host"
    )
    assert (code, "helm.values" in printed, "db.example.com" in printed) == (0, True, True), printed


async def test_the_command_line_says_the_same_over_the_api_and_over_kubernetes(world: World) -> None:
    shop, space = world.shop, world.shop.namespace
    await shop.settled()
    verbs = ["pause", "resume", "sync", "rollback", "refresh", "approve", "cordon", "uncordon", "explain"]
    person = await world.caller(
        "steerer",
        [*READ, {"apiGroups": ["axletree.dev"], "resources": ["*"], "verbs": verbs}],
        everywhere=True,
    )
    (shop.folder / "ca.pem").write_text(world.ca)
    over = {
        "AXLETREE_API": world.url,
        "AXLETREE_CA": str(shop.folder / "ca.pem"),
        "AXLETREE_TOKEN": person.token,
    }
    kubernetes = {"AXLETREE_KUBECONFIG": str(shop.server.kubeconfig_path)}

    async def axle(env: dict[str, str], *arguments: str) -> tuple[int, str]:
        bare = dict.fromkeys((*over, *kubernetes)) | {"AXLETREE_HOME": str(shop.folder / "none")}
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=bare | env)
        return done.exit_code, done.stdout + done.stderr

    for arguments in (
        ("get", "apps", "-n", space, "-o", "json"),
        ("get", "apps", "-l", f"axletree.dev/cluster={shop.cluster}", "-o", "name"),
        ("get", "appset", f"{space}/shop", "-o", "yaml"),
        ("get", "projects", "-o", "yaml"),
        ("get", "clusters", "-o", "name"),
        ("get", "app", f"{space}/nothing"),
        ("tree", "-o", "json"),
        ("graph", "-o", "json"),
        ("why", f"{space}/web"),
        ("history", f"{space}/web", "-o", "json"),
        ("outputs", f"{space}/web"),
        ("diff", f"{space}/web", "-o", "json"),
        ("status", "-o", "name"),
        ("resume", f"{space}/web"),
        ("rollback", f"{space}/web", "--to", "7"),
        ("sync", f"{space}/web"),
        ("approve", f"appset/{space}/shop"),
        ("approve", f"appset/{space}/shop", "--wave", "none"),
        ("refresh", "nothing"),
    ):
        said = await axle(over, *arguments)
        assert said == await axle(kubernetes, *arguments)
        assert said[1], arguments
    acts = (
        ("pause", f"{space}/web"),
        ("resume", f"{space}/web"),
        ("pause", f"cluster/{shop.cluster}"),
        ("resume", f"cluster/{shop.cluster}"),
        ("refresh", f"{space}/web"),
        ("sync", f"appset/{space}/shop", "--object", "configmap/db", "--timeout", "20s"),
        ("sync", f"app/{space}/db", "--object", "configmap/db", "--timeout", "20s"),
    )
    told = [[await axle(each, *arguments) for arguments in acts] for each in (over, kubernetes)]
    assert told[0] == told[1]
    assert [code for code, _ in told[0]] == [0, 0, 0, 0, 0, 1, 0]
    assert told[0][-1][1] == f"ConfigMap {space}-apps/db of {space}/db on {shop.cluster}: unchanged\n"
    entries = (await person.get("/audit"))[1]["items"]
    mine = [each["act"] for each in entries if each["who"].endswith(":steerer") and each["outcome"] == "Done"]
    assert mine == [*["sync"] * 8, "refresh", "uncordon", "cordon", "resume", "pause"]
    status, said_of_all = await person.post(f"/applicationsets/{space}/shop/sync", {"object": "ConfigMap/db"})
    assert (status, len(said_of_all["changed"])) == (200, 3)

    async def heard() -> bool:
        found = (await person.get(f"/applications/{space}/db"))[1]["objectSync"]
        return (found.get("request"), found.get("state")) == (said_of_all["request"], "Applied")

    await shop.until("the agent has applied the object again", heard)
    assert (await person.post(f"/applicationsets/{space}/shop/sync", {"object": "x"}))[0] == 400
    assert (await person.post(f"/applicationsets/{space}/shop/sync"))[1]["reason"] == "NothingToDo"
