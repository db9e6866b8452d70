"""The API of a real hub over a real fleet: who may see what, waiting for a commit, events."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.names import ANNOTATION_REFRESH
from hub.api.registry import APPLICATION_SET
from hub.web.asked import AppQuery, EventQuery
from hub.web.client import Client
from hub.web.connection import ApiProblem
from hub.web.policy import ROUTES, Access
from tests.integration.api_rig import READ, Api, axle, ended
from tests.integration.hub_rig import SHOP

if TYPE_CHECKING:
    from tests.integration.api_rig import World
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


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
    await _hostile(world, reader)


async def test_what_is_read_is_what_there_is_and_events_come_as_they_happen(world: World) -> None:
    shop = world.shop
    reader = await world.caller("reader", READ)
    admin = await world.caller("admin", READ, everywhere=True)
    await _all_told(world, reader, admin)
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
        await _followed(client)
    await _drawn(reader, shop)
    happened = (await reader.get("/events/list", reason="Released", kind="Application"))[1]["items"]
    assert {each["name"] for each in happened} == {*SHOP, "extra"}
    await _as_it_happens(world, reader)


async def _all_told(world: World, reader: Api, admin: Api) -> None:
    """The fleet is at rest, and the database that the API reads from has heard all of it."""
    shop = world.shop
    await shop.settled()

    async def heard() -> bool:
        apps = (await reader.get("/applications"))[1]["items"]
        details = [(await reader.get(f"/applications/{shop.namespace}/{each['name']}"))[1] for each in apps]
        history = (await reader.get(f"/applications/{shop.namespace}/web/history"))[1]["items"]
        sets = (await reader.get("/applicationsets"))[1]["items"]
        tree = (await reader.get(f"/applicationsets/{shop.namespace}/shop/tree"))[1]
        clusters = (await admin.get("/clusters"))[1]["items"]
        released = (await reader.get("/events/list", reason="Released", kind="Application"))[1]["items"]
        return (
            len(details) == len({each["name"] for each in released}) == len(SHOP) + 1
            and all(each["app"]["ready"] for each in details)
            and [each["well"] for each in history] == [True]
            and [each["ready"] for each in sets] == [True]
            and tree["set"] == sets[0]
            and any(each["name"] == shop.cluster and each["state"] == "Connected" for each in clusters)
        )

    await shop.until("the API tells all of it", heard)


async def _followed(client: Client) -> None:
    """From an event on that was seen: what came since is told."""
    first = (await client.list_events(EventQuery(limit=1))).items[0].id
    following = client.follow(EventQuery(reason=["Released"]), last=first)
    assert (await asyncio.wait_for(anext(following), 60)).reason == "Released"
    await following.aclose()


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
    waiting = asyncio.create_task(ended(reader, path, commit))
    assert (await pipeline.post(f"/applicationsets/{shop.namespace}/shop/refresh"))[0] == 200
    said = await waiting
    assert (said["state"], said["where"], said["children"]) == ("Healthy", [], 3)
    await shop.deployed("web", "2")
    assert (await reader.get(path, revision=commit[:8]))[1]["state"] == "Healthy"
    code, printed = await axle(world, reader, "rollout", f"{shop.namespace}/shop", "--revision", commit)
    assert (code, f"{commit} is Healthy (3/3 Healthy)" in printed) == (0, True), printed
    code, printed = await axle(world, reader, "events", "--after", "1", "--count", "1", "-o", "json")
    assert (code, json.loads(printed)["id"] > 1) == (0, True), printed

    await _taken_back(world, steer)

    await shop.author.commit(
        {
            "apps/web/it.yaml": json.dumps(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x" * 300}, "data": {}}
            )
        }
    )
    bad = await shop.author.git("rev-parse", "HEAD")
    waiting = asyncio.create_task(ended(reader, path, bad))
    await pipeline.post(f"/applicationsets/{shop.namespace}/shop/refresh")
    said = await waiting
    assert (said["state"], [each["application"] for each in said["where"]]) == (
        "Failed",
        [f"{shop.namespace}/web"],
    )
    assert said["where"][0]["message"]
    assert (await reader.get(path, revision=commit))[1]["state"] == "Superseded"
    code, printed = await axle(world, reader, "rollout", f"{shop.namespace}/shop", "--revision", bad)
    assert (code, f"{shop.namespace}/web on {shop.cluster}: Failed" in printed) == (1, True), printed
    assert (await ended(reader, path, bad))["state"] == "Failed"  # also while its agent tries it again
    await shop.author.commit({"apps/web/it.yaml": None, "README.md": "what is here"})
    await _passed_over(world, pipeline, path)
    await _of_no_concern(world, pipeline, path)
    await _not_to_be_planned(world, pipeline, path)


async def _passed_over(world: World, pipeline: Api, path: str) -> None:
    """Two commits within one fetch: of the first no plan is ever made, and who waits for it is told so."""
    first = await world.commit(db="21")
    waiting = asyncio.create_task(ended(pipeline, path, first))
    second = await world.commit(db="22")
    await pipeline.post(f"/applicationsets/{world.shop.namespace}/shop/refresh")
    assert (await waiting)["state"] == "Superseded"
    assert (await pipeline.get(path, revision=first[:7]))[1]["state"] == "Superseded"
    assert (await pipeline.get(path, revision=second))[1]["state"] != "Superseded"
    assert (await pipeline.get(path, revision="f" * 40))[1]["state"] == "Pending"


async def _taken_back(world: World, steer: list[dict[str, Any]]) -> None:
    """A whole set goes back to what was well before, dependents first, and forth again."""
    shop = world.shop
    path = f"/applicationsets/{shop.namespace}/shop/rollback"
    steerer = await world.caller("steerer", [*READ, steer[0] | {"verbs": ["rollback"]}])
    assert (await steerer.post(path, {"release": 1}))[0] == 400
    status, said = await steerer.post(path)
    assert (status, [each.partition(" ")[0] for each in said["changed"]]) == (
        200,
        [f"{shop.namespace}/web", f"{shop.namespace}/db"],
    ), "api has been released once only"
    for name in ("web", "db"):
        await shop.deployed(name, "1")
    assert (await steerer.post(path, {"undo": True}))[0] == 200
    for name in ("web", "db"):
        await shop.deployed(name, "2")
    assert (await steerer.post(path, {"undo": True}))[0] == 409


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
    waiting = asyncio.create_task(pipeline.get(path, revision=commit, wait="200s", until="End"))
    await pipeline.post(f"/applicationsets/{shop.namespace}/shop/refresh")
    assert (await waiting)[1]["state"] == "Healthy"
    assert asyncio.get_running_loop().time() - asked < 200, (
        "it is told when it is so, not when the time is up"
    )


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
    waiting = asyncio.create_task(ended(pipeline, path, bad))
    await pipeline.post(f"/applicationsets/{shop.namespace}/files/refresh")
    said = await waiting
    assert (said["state"], "no plan can be made of it" in said["message"]) == ("Failed", True), said
    assert (await pipeline.get(path, revision=commit))[1]["state"] == "Healthy"
    await shop.author.commit({"sets/one.yaml": "name: one\nof: one\n"})
    good = await shop.author.git("rev-parse", "HEAD")
    waiting = asyncio.create_task(ended(pipeline, path, good))
    await pipeline.post(f"/applicationsets/{shop.namespace}/files/refresh")
    assert (await waiting)["state"] == "Healthy"
    assert (await pipeline.get(path, revision=bad))[1]["state"] != "Failed"


async def _as_it_happens(world: World, reader: Api) -> None:
    """Events come as they happen, and resume where they were."""
    shop = world.shop
    other = await world.caller("powerless", [])
    owner = f"{shop.namespace}/shop"
    seen: list[dict[str, Any]] = []
    async with other.events() as nothing, reader.events(applicationSet=owner, reason="Released") as stream:
        hidden = asyncio.ensure_future(anext(aiter(nothing)))
        await shop.release(db="5")
        seen.append(await asyncio.wait_for(anext(stream), 60))
        assert (seen[0]["name"], seen[0]["new"]) == ("db", "2")
        assert not hidden.done()
        hidden.cancel()
    await shop.release(db="6", web="6")  # while nobody listens
    async with reader.events(applicationSet=owner, reason="Released", last=str(seen[0]["id"])) as stream:
        missed = [await asyncio.wait_for(anext(stream), 60) for _ in range(2)]
        assert sorted((each["name"], each["new"]) for each in missed) == [("db", "3"), ("web", "2")]
        assert all(each["id"] > seen[0]["id"] for each in missed)
        await shop.release(api="6")
        assert (await asyncio.wait_for(anext(stream), 60))["name"] == "api"


async def _hostile(world: World, reader: Api) -> None:
    """Questions that no program asks are refused as problems."""
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
        told = await asyncio.wait_for(anext(stream), 60)
        assert told["reason"] == "EventsMissed"
        assert told["id"] < first
        assert (await asyncio.wait_for(anext(stream), 60))["reason"] == "Released"
