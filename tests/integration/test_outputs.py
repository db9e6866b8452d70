"""Outputs and inputs on a real hub, two real clusters: values flow, change, and outlast their source."""

from __future__ import annotations

import base64
import gzip
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.bundle import SealedInputRefused, decode
from agent.contract.names import ANNOTATION_REFRESH, HUB_NAMESPACE
from hub.api.registry import APPLICATION, APPLICATION_SET, ASSIGNMENT, CLUSTER, PROJECT
from hub.fleet import install
from tests.integration.gateway_rig import client_of, new_name
from tests.integration.hub_rig import OURS, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.agent import Agent
    from agent.kube.client import RestClient
    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
STALE = 6.0
OUTPUT = {
    "name": "endpoint",
    "object": {"kind": "Service", "name": "db"},
    "value": "{'host': spec.clusterIP, 'port': spec.ports[0].port}",
    "schema": {"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "integer"}}},
}
INPUT = {
    "as": "db",
    "selector": {"matchLabels": {"app": "database"}},
    "clusters": {"scope": "All"},
    "output": "endpoint",
}


class Pair:
    """A database on one cluster, a backend on another; the first is the hub's own API server."""

    def __init__(self, shop: Fleet, other: RestClient, server: ControlPlane) -> None:
        self.shop = shop
        self.other, self.server = other, server
        self.near, self.far = shop.cluster, new_name()
        self.agents: list[tuple[Agent, Any]] = []

    async def start(self, port: int) -> None:
        shop = self.shop
        for cluster, server in ((self.near, shop.server), (self.far, self.server)):
            shop.cluster, own = cluster, shop.server
            shop.server = server
            await shop.join(port)
            shop.server = own
            assert shop.agent is not None
            self.agents.append((shop.agent, shop.running))
        destination = {"clusters": [self.near, self.far], "namespaces": [f"{shop.namespace}-*"]}
        spec = {"sourceRepos": [shop.repo], "destinations": [destination], "serviceAccount": "deployer"}
        await shop.put(PROJECT, "project", spec)
        for name in (self.near, self.far):
            await shop.until(f"{name} is there", lambda name=name: self._joined(name))

    async def stop(self) -> None:
        self.shop.agent = None
        for agent, task in self.agents:
            await agent.stop()
            await task

    async def _joined(self, name: str) -> bool:
        found = await self.shop._get(CLUSTER.path(name=name))
        return bool(found and (found.get("status") or {}).get("sealingKey"))

    async def commit(self, *, database: int = 5432, backend: str = "1") -> None:
        service = (
            "apiVersion: v1\nkind: Service\nmetadata: {name: db}\n"
            f"spec: {{ports: [{{port: {database}}}], selector: {{app: db}}}}\n"
        )
        map_ = (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: backend}\n"
            f"data: {{version: '{backend}', url: '{{{{ values.url }}}}'}}\n"
        )
        await self.shop.author.commit({"apps/db/it.yaml": service, "apps/backend/it.yaml": map_})

    async def declare(self, **more: Any) -> None:
        shop = self.shop
        spec = shop.spec("db", cluster=self.near) | {"outputs": [OUTPUT]}
        await shop.put(APPLICATION, "database", spec, labels={"app": "database"})
        source = {"repoURL": shop.repo, "revision": "main", "path": "apps/backend"}
        url = "db://{{ inputs.db[0].host }}:{{ inputs.db[0].port }}"
        template = {
            "cluster": "{{ cluster.name }}",
            "namespace": f"{shop.namespace}-apps",
            "sources": [source | {"jinja": {"enabled": True, "values": {"url": url}}}],
            "sync": {"createNamespace": True},
            "inputs": [INPUT | more],
        }
        await shop.put(
            APPLICATION_SET,
            "backends",
            {
                "generators": [{"clusters": {"names": [self.far]}}],
                "template": {"metadata": {"name": "backend"}, "spec": template},
            },
        )

    async def refresh(self) -> None:
        note = {"metadata": {"annotations": {ANNOTATION_REFRESH: datetime.now(UTC).isoformat()}}}
        shop = self.shop
        await shop.client.merge_patch(APPLICATION_SET.path(shop.namespace, "backends"), note)
        await shop.client.merge_patch(APPLICATION.path(shop.namespace, "database"), note)

    async def service(self) -> str:
        path = f"/api/v1/namespaces/{self.shop.namespace}-apps/services/db"
        return str(((await self.shop._get(path)) or {}).get("spec", {}).get("clusterIP", ""))

    async def backend(self) -> dict[str, str]:
        path = f"/api/v1/namespaces/{self.shop.namespace}-apps/configmaps"
        found = (await self.other.list(path)).items
        return next((each["data"] for each in found if each["metadata"]["name"] == "backend"), {})

    async def until(self, *, url: str | None = None, version: str = "1") -> None:
        async def holds() -> bool:
            host = await self.service()
            wanted = url or (f"db://{host}:5432" if host else "?")
            return await self.backend() == {"version": version, "url": wanted}

        try:
            await self.shop.until(f"the backend is at {version} with {url or 'the service'}", holds)
        except AssertionError as error:
            apps = [(await self.shop.app(name)).get("status") for name in ("database", "backend")]
            raise AssertionError(f"{await self.backend()} {apps}\n{error}") from error

    async def given(self, value: Any) -> None:
        """Wait until the database says that it gives this, by a whole commit."""

        async def holds() -> bool:
            outputs = (await self.shop.app("database"))["status"].get("outputs") or ()
            return [(each["value"], len(each["revision"])) for each in outputs] == [(value, 40)]

        await self.shop.until(f"the database gives {value}", holds)

    async def blocked(self) -> list[tuple[str, str]]:
        app = await self.shop._get(APPLICATION.path(self.shop.namespace, "backend"))
        held = ((app or {}).get("status") or {}).get("blockedBy") or ()
        return [(each["edge"], each.get("message", "")) for each in held]


@pytest.fixture
async def pair(
    own_server: ControlPlane, api_server: ControlPlane, namespace: str, tmp_path: Path
) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(fleet(own_server, namespace, tmp_path))
        other = await stack.enter_async_context(client_of(api_server))
        await install.install_spoke(other, service_accounts=("deployer",))
        made = Pair(shop, other, api_server)
        stack.push_async_callback(made.stop)
        yield made


async def test_f48_a_value_flows_changes_and_outlasts_its_producer(pair: Pair) -> None:
    shop, port = pair.shop, free_port()
    await shop.hub("first", port, stale_after=STALE)
    await pair.start(port)
    await pair.commit()
    await pair.declare()
    await pair.until()
    app = await shop.app("backend")  # which was written before the agent was told
    first = await pair.service()
    assert app["status"]["inputs"][0]["value"] == [{"host": first, "port": 5432}]
    assert app["status"]["inputs"][0]["from"] == [f"{shop.namespace}/database"]
    assert app["status"]["sync"]["release"] == 1
    await pair.given({"host": first, "port": 5432})

    # it changes: somebody deletes the Service, the agent makes it again, and it gets another address
    await shop.client.delete(f"/api/v1/namespaces/{shop.namespace}-apps/services/db")

    async def moved() -> bool:
        return await pair.service() not in ("", first)

    await shop.until("the Service has another address", moved)
    await pair.until()
    assert (await shop.app("backend"))["status"]["sync"]["release"] == 2

    # one commit that changes both sides is one release of the backend, with what holds after it
    await pair.commit(database=6000, backend="2")
    await pair.refresh()
    host = await pair.service()
    await pair.until(url=f"db://{host}:6000", version="2")
    assert (await shop.app("backend"))["status"]["sync"]["release"] == 3

    # the producer is away: a commit still gets out, with the last good value
    agent, task = pair.agents.pop(0)
    await agent.stop()
    await task

    async def stale() -> bool:
        status = (await shop.client.get(CLUSTER.path(name=pair.near))).get("status") or {}
        return any(each["type"] == "Ready" and each["status"] != "True" for each in status["conditions"])

    await shop.until("the producer's cluster is Stale", stale)
    await pair.commit(database=6000, backend="3")
    await pair.refresh()
    await pair.until(url=f"db://{host}:6000", version="3")

    # and another process of the hub knows no less
    await shop.hubs[0].stop()
    await shop.hub("second", port, stale_after=STALE)
    await shop.led_by("second")
    await pair.commit(database=6000, backend="4")
    await pair.refresh()
    await pair.until(url=f"db://{host}:6000", version="4")


async def test_a_missing_input_blocks_and_prunes_nothing(pair: Pair) -> None:
    shop, port = pair.shop, free_port()
    await shop.hub("first", port)
    await pair.start(port)
    await pair.commit()
    await pair.declare(selector={"matchLabels": {"app": "nothing"}})

    async def waits() -> bool:
        return any(
            edge == "MissingInput" and "nothing matches" in said for edge, said in await pair.blocked()
        )

    await shop.until("the backend waits for its input", waits)
    assert await pair.backend() == {}
    await pair.declare()
    await pair.until()
    await _is_told_when_it_is_given_no_more(pair)
    await pair.declare(output="other")

    async def waits_again() -> bool:
        return any(
            edge == "MissingInput" and "no output other" in said for edge, said in await pair.blocked()
        )

    await shop.until("the backend waits for an output that is not there", waits_again)
    assert (await pair.backend())["version"] == "1"
    await pair.declare(output="other", default=[{"host": "localhost", "port": 1}])
    await pair.until(url="db://localhost:1")
    await _may_not_decide_about_a_registry(pair)


async def _is_told_when_it_is_given_no_more(pair: Pair) -> None:
    """What runs stays, and says that nobody vouches for it any more: as the input's `onStale` wants it."""
    shop = pair.shop
    database = APPLICATION.path(shop.namespace, "database")

    async def says(ready: str, stalled: str, edge: str) -> None:
        async def holds() -> bool:
            status = (await shop.app("backend")).get("status") or {}
            found = {each["type"]: each["status"] for each in status["conditions"]}
            edges = [each["edge"] for each in status.get("blockedBy") or ()]
            return (found["Ready"], found["Stalled"], edges) == (ready, stalled, [edge] if edge else [])

        await shop.until(f"the backend's Ready is {ready}, for {edge or 'nothing'}", holds)

    await says("True", "False", "")
    await shop.client.merge_patch(database, {"spec": {"outputs": None}})
    await says("True", "False", "MissingInput")

    async def named() -> bool:
        return "no output endpoint" in json.dumps((await shop.app("backend"))["status"]["conditions"])

    await shop.until("it says which output is not given any more", named)
    await shop.client.merge_patch(database, {"spec": {"outputs": [OUTPUT]}})
    await says("True", "False", "")
    await pair.until()


async def _may_not_decide_about_a_registry(pair: Pair) -> None:
    """What came from a spoke names no registry, unless the Project says so; what runs stays."""
    shop = pair.shop
    path = APPLICATION_SET.path(shop.namespace, "backends")
    image = {"op": "add", "path": "/data/image", "value": "{{ inputs.db[0].host }}.example.com/web"}
    patch = {"target": {"kind": "ConfigMap"}, "patch": json.dumps([image])}
    template = (await shop.client.get(path))["spec"]["template"]
    template["spec"] |= {"patches": [patch]}
    await shop.client.merge_patch(path, {"spec": {"template": template}})

    async def refused() -> bool:
        return "InputMisplaced" in json.dumps((await shop.app("backend")).get("status"))

    await shop.until("the input is refused where it stands", refused)
    assert "image" not in await pair.backend()
    project = PROJECT.path(shop.namespace, "project")
    await shop.client.merge_patch(project, {"spec": {"inputPlaces": ["ImageHost"]}})
    await pair.refresh()

    async def there() -> bool:
        return (await pair.backend()).get("image") == "localhost.example.com/web"

    await shop.until("the Project allows it", there)


async def test_i5_a_sealed_output_goes_to_its_taker_and_the_hub_never_holds_it(pair: Pair) -> None:
    shop, port = pair.shop, free_port()
    hub = await shop.hub("first", port)
    await pair.start(port)
    space = f"{shop.namespace}-apps"
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: credentials}\n"
    taker = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: backend}\ndata: {version: '1'}\n"
    await shop.author.commit({"apps/db/it.yaml": secret, "apps/backend/it.yaml": taker})
    output = {
        "name": "password",
        "sealed": True,
        "object": {"kind": "Secret", "name": "credentials"},
        "value": "data.password",
    }
    spec = shop.spec("db", cluster=pair.near) | {"outputs": [output]}
    await shop.put(APPLICATION, "database", spec, labels={"app": "database"})
    wanted = {"as": "db", "name": "database", "clusters": {"names": [pair.near]}, "output": "password"}
    wanted["secret"] = {"name": "database", "key": "password"}
    await shop.put(APPLICATION, "backend", shop.spec("backend", cluster=pair.far) | {"inputs": [wanted]})

    async def waits() -> bool:
        return any("gives nothing yet" in said for _, said in await pair.blocked())

    await shop.until("the backend waits for a password that is not there yet", waits)
    credentials = f"/api/v1/namespaces/{space}/secrets/credentials"

    async def applied() -> bool:
        return await shop._get(credentials) is not None

    await shop.until("there is a place for the password", applied)

    async def made(password: str) -> None:
        """By somebody on the producer's cluster, as an operator would."""
        data = {"data": {"password": base64.b64encode(password.encode()).decode()}}
        await shop.client.merge_patch(credentials, data)

        async def there() -> bool:
            found = (await pair.other.list(f"/api/v1/namespaces/{space}/secrets")).items
            return any(
                each["metadata"]["name"] == "database" and each.get("data") == data["data"] for each in found
            )

        await shop.until("the backend's cluster has it", there)

    first, second = "correct-horse-battery", "staple-of-the-second-kind"
    await made(first)
    app = await shop.app("backend")
    assert app["status"]["inputs"][0]["sealed"]["producer"] == f"{shop.namespace}/database"
    assert app["status"]["sync"]["release"] == 1
    await made(second)
    assert (await shop.app("backend"))["status"]["sync"]["release"] == 2

    # nothing of it on the hub: its objects, its folder (of which nothing goes any more once it has ended), its log
    assert hub.process.returncode is None
    assigned = (await shop.client.get(ASSIGNMENT.path(HUB_NAMESPACE, pair.far)))["spec"]["apps"][0]
    await hub.stop()
    texts = [json.dumps((await shop.client.list(kind.path())).items).encode() for kind in OURS]
    files = [path for path in shop.folder.rglob("*") if path.is_file()]
    texts += [_plain(path.read_bytes()) for path in files]
    assert len(files) > 5
    for password in (first, second):
        for text in (password.encode(), base64.b64encode(password.encode())):
            assert not any(text in each for each in texts)

    # and it opens for nobody else
    data = next(path.read_bytes() for path in files if path.name.startswith(assigned["blob"]))
    keys = [agent.identity.sealing_key for agent, _ in pair.agents if agent.identity is not None]
    opened = decode(data, blob=assigned["blob"], private_key=keys[1], app=f"{shop.namespace}/backend")
    assert any(each["kind"] == "Secret" for each in opened.objects)
    for key, name in ((keys[1], "database"), (keys[0], "backend")):
        with pytest.raises(SealedInputRefused):
            decode(data, blob=assigned["blob"], private_key=key, app=f"{shop.namespace}/{name}")


def _plain(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except gzip.BadGzipFile:
        return data
