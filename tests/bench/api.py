"""The API as programs use it: over TLS, with tokens that a real API server reviews, from a hub that is a process.

Lists and counts are asked of a hub that serves the API alone, over a database of 100,000 Applications that another
process keeps, as a controller would. The way of a health change goes through everything: a Deployment on a spoke, its
agent, the gateway, the controller, the database, a stream.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import ssl
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from agent.contract.names import API_VERSION, LABEL_SET
from hub.api.registry import APPLICATION
from hub.fleet import install
from hub.fleet.controlplane import ControlPlane
from hub.gateway.identity import HubIdentity
from hub.history.database import Database
from hub.history.recorder import Recorder
from hub.web.policy import PREFIX
from tests.bench import rows
from tests.bench.marks import BenchFailed, clock
from tests.bench.measure import Meter, memory
from tests.bench.reconnect import _listening, _process
from tests.bench.rows import Sample
from tests.integration.gateway_rig import client_of
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agent.kube.client import RestClient
    from tests.bench.options import Options

ROWS = (rows.API_LIST, rows.API_FACETS, rows.API_HEALTH, rows.API_STREAMS, rows.API_WAIT)
COUNT = int(os.environ.get("AXLETREE_BENCH_APPLICATIONS", "100000"))
CLIENTS = int(os.environ.get("AXLETREE_BENCH_STREAMS", "1000"))
_EACH = 20
_TOGGLES = 8
_PAUSE = 1.3
"""Seconds between changes of one app: what comes faster is coalesced to one a second, which is another question."""
_REST = 15.0
_MB = 1024 * 1024
_TEAMS, _APPS = 50, 100
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_WAITED = "team-1/waited"
FILTERS: tuple[dict[str, Any], ...] = (
    {"health": "Degraded"},
    {"label": "tier=front"},
    {"cluster": "cluster-0007"},
    {"applicationSet": "team-1/app1", "sync": "Synced"},
    {"namespace": "team-3", "label": "app"},
    {"q": "degraded front"},
)


async def run(options: Options) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    root = options.root / "api"
    root.mkdir(parents=True)
    plane = ControlPlane("api", root / "plane", options.binary, workloads=False)
    await plane.start()
    try:
        if options.wants(rows.API_HEALTH):
            found |= await _health(options, plane, root)
        if options.wants(rows.API_LIST, rows.API_FACETS, rows.API_STREAMS, rows.API_WAIT):
            found |= await _large(options, plane, root)
    finally:
        await plane.stop()
    return found


# -- a large fleet, as a database has it


async def _large(options: Options, plane: ControlPlane, root: Path) -> dict[str, list[Sample]]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(plane))
        await install.install_hub(client)
        await _put_waited(client)
        data, port, api = root / "large", free_port(), free_port()
        options.note(f"{COUNT:,} Applications are written")
        database = Database(f"sqlite:///{data / 'history.sqlite'}")
        await database.open()
        stack.push_async_callback(database.close)
        recorder = Recorder(database, now=lambda: datetime.now(UTC))
        await recorder.begin(itertools.chain([_set(settled=False)], _applications()))
        writing = asyncio.create_task(recorder.run())
        stack.callback(writing.cancel)
        process = await stack.enter_async_context(
            _process(
                "hub.main",
                *("--kubeconfig", str(plane.kubeconfig_path), "--data-dir", str(data), "--role", "gateway"),
                *("--port", str(port), "--api-port", str(api), "--log-level", "error"),
            )
        )
        await _listening(api)
        session = await stack.enter_async_context(_session(client, api))
        await _warm(session)
        found = {}
        if options.wants(rows.API_LIST, rows.API_FACETS):
            held = memory([process.pid]).rss / _MB
            found[rows.API_LIST.id] = [await _asked(session, "/applications", {"limit": 100}, held)]
            found[rows.API_FACETS.id] = [await _asked(session, "/facets", {}, held)]
        if options.wants(rows.API_STREAMS):
            options.note(f"{CLIENTS:,} clients listen")
            found[rows.API_STREAMS.id] = [await _streams(session, recorder, process.pid)]
        if options.wants(rows.API_WAIT):
            options.note(f"{CLIENTS:,} orchestrators wait")
            found[rows.API_WAIT.id] = [await _waiting(session, recorder, process.pid)]
        return found


async def _warm(session: aiohttp.ClientSession) -> None:
    """The first question makes the index, where the start has not yet."""
    began = clock()
    while clock() - began < 60:
        async with session.get(f"{PREFIX}/facets") as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(0.2)
    raise BenchFailed("the API has no index")


async def _asked(session: aiohttp.ClientSession, path: str, given: dict[str, Any], held: float) -> Sample:
    """The slowest of twenty in every filter's twenty questions: the 95th part of a hundred."""
    worst, note = 0.0, []
    load = os.getloadavg()[0]
    for each in FILTERS:
        times = []
        for _ in range(_EACH):
            began = clock()
            async with session.get(PREFIX + path, params=given | each) as answer:
                body = await answer.read()
            times.append((clock() - began) * 1000)
            if answer.status != 200 or len(body) < 50:
                raise BenchFailed(f"{path} {each}: {answer.status}")
        slow = sorted(times)[-2]
        worst = max(worst, slow)
        name = " ".join(f"{key}={value}" for key, value in each.items())
        note.append(f"{name}: {statistics.median(times):.1f}, {slow:.1f}")
    return Sample(
        worst, load=load, note=f"median, 95th of each filter: {'; '.join(note)}; process {held:.0f} MB"
    )


async def _streams(session: aiohttp.ClientSession, recorder: Recorder, pid: int) -> Sample:
    """From the change that is recorded until the last client has it."""
    before = memory([pid]).rss / _MB
    listening: asyncio.Queue[int] = asyncio.Queue()
    heard: asyncio.Queue[float] = asyncio.Queue()

    clients = [asyncio.create_task(_listen(session, listening, heard)) for _ in range(CLIENTS)]
    try:
        for _ in clients:
            await asyncio.wait_for(listening.get(), 120)
        held = memory([pid]).rss / _MB
        times, first = [], []
        for number in range(_TOGGLES):
            states = ("Healthy", "Degraded") if number % 2 else ("Degraded", "Healthy")
            began = clock()
            recorder.saw(_application(1, health=states[1]), _application(1, health=states[0]))
            moments = [await asyncio.wait_for(heard.get(), 60) for _ in clients]
            first.append((min(moments) - began) * 1000)
            times.append((max(moments) - began) * 1000)
    finally:
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    note = (
        f"the first of them after {statistics.median(first):.0f} ms; "
        f"{(held - before) / CLIENTS * 1024:.0f} KB a client; clients and hub share the machine"
    )
    return Sample(statistics.median(times), load=os.getloadavg()[0], note=note)


async def _listen(
    session: aiohttp.ClientSession, listening: asyncio.Queue[int], heard: asyncio.Queue[float]
) -> None:
    """A client that comes back where it is refused, as they do."""
    while True:
        try:
            async with session.get(f"{PREFIX}/events", params={"reason": "HealthChanged"}) as answer:
                async for line in answer.content:
                    if line.startswith(b": connected"):
                        listening.put_nowait(1)
                    elif line.startswith(b"data: "):
                        heard.put_nowait(clock())
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)


async def _waiting(session: aiohttp.ClientSession, recorder: Recorder, pid: int) -> Sample:
    """CPU of the hub while they wait and nothing happens, against the same without them; then the end of it."""
    path = f"{PREFIX}/applicationsets/{_WAITED}/rollout"
    idle = await _cpu(pid)
    answered: list[float] = []

    async def orchestrator() -> str:
        async with session.get(
            path, params={"revision": "c0ffee1", "wait": "120s", "until": "End"}
        ) as answer:
            state = str((await answer.json())["state"])
        answered.append(clock())
        return state

    tasks = [asyncio.create_task(orchestrator()) for _ in range(CLIENTS)]
    await asyncio.sleep(10)
    busy = await _cpu(pid)
    began = clock()
    recorder.saw(_set(settled=False), _set(settled=True))
    states = set(await asyncio.wait_for(asyncio.gather(*tasks), 60))
    if states != {"Healthy"}:
        raise BenchFailed(f"they were told {states}")
    last = (max(answered) - began) * 1000
    note = f"{busy:.2f} % with them, {idle:.2f} % without; all told {last:.0f} ms after it was over"
    return Sample(max(0.0, busy - idle), load=os.getloadavg()[0], note=note)


async def _cpu(pid: int) -> float:
    meter = Meter({"hub": [pid]})
    await asyncio.sleep(_REST)
    parts, window = meter.read()
    return 100 * parts["hub"] / window


# -- a health change, from a spoke to a stream


async def _health(options: Options, plane: ControlPlane, root: Path) -> dict[str, list[Sample]]:
    folder = root / "small"
    folder.mkdir()
    async with fleet(plane, "bench", folder) as shop:
        port, api = free_port(), free_port()
        await shop.hub("hub", port, api_port=api)
        await shop.join(port)
        await shop.author.commit({"apps/web/it.yaml": json.dumps(_DEPLOYMENT)})
        await shop.put(APPLICATION, "web", shop.spec("web"))
        path = "/apis/apps/v1/namespaces/bench-apps/deployments/web"

        async def there() -> bool:
            return await shop._get(path) is not None

        await shop.until("the Deployment is there", there)
        generation = (await shop.client.get(path))["metadata"]["generation"]
        options.note("a Deployment's availability changes")
        times = []
        async with _session(shop.client, api) as session, _told(session) as events:
            for number in range(_TOGGLES + 1):
                well = number % 2 == 0
                began = clock()
                await shop.client.merge_patch(
                    path, _status(well=well, generation=generation), subresource="status"
                )
                await asyncio.wait_for(_until(events, "Healthy" if well else "Progressing"), 30)
                times.append((clock() - began) * 1000)
                await asyncio.sleep(_PAUSE)
    note = ", ".join(f"{each:.0f}" for each in times[1:])
    return {rows.API_HEALTH.id: [Sample(statistics.median(times[1:]), load=os.getloadavg()[0], note=note)]}


@asynccontextmanager
async def _told(session: aiohttp.ClientSession) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    async with session.get(f"{PREFIX}/events", params={"reason": "HealthChanged", "name": "web"}) as answer:

        async def events() -> AsyncIterator[dict[str, Any]]:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

        yield events()


async def _until(events: AsyncIterator[dict[str, Any]], state: str) -> None:
    async for each in events:
        if each["new"] == state:
            return


_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]},
        },
    },
}


def _status(*, well: bool, generation: int) -> dict[str, Any]:
    ready = 1 if well else 0
    condition = {"type": "Available", "status": "True" if well else "False", "reason": "x", "message": ""}
    counts = dict.fromkeys(("availableReplicas", "readyReplicas"), ready)
    return {
        "status": counts
        | {"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "conditions": [condition]}
    }


# -- what stands in the database, and who asks


def _applications() -> Iterator[dict[str, Any]]:
    return (_application(number) for number in range(COUNT))


def _application(number: int, *, health: str = "") -> dict[str, Any]:
    """One of `_APPS` apps on one of many clusters; three of a hundred are not well."""
    app, cluster, team = f"app{number % _APPS}", f"cluster-{number // _APPS:04}", f"team-{number % _TEAMS}"
    state = health or ("Degraded" if number % 37 == 36 else "Healthy")
    said = "" if state == "Healthy" else "Deployment/web: 2 of 3 replicas are available"
    labels = {"app": app, "tier": "front" if number % 3 else "back", "axletree.dev/cluster": cluster}
    return {
        "kind": "Application",
        "metadata": {
            "namespace": team,
            "name": f"{app}-{cluster}",
            "labels": labels | {LABEL_SET: app},
        },
        "spec": {"cluster": cluster},
        "status": {
            "sync": {"state": "Synced", "plan": 4, "target": "d" * 64, "released": "d" * 64, "release": 3},
            "health": {"state": state, "message": said, "observedAt": "2026-01-01T00:00:00Z"},
            "conditions": [
                {"type": "Ready", "status": "True" if state == "Healthy" else "False", "message": said}
            ],
            "history": [
                {"release": 3, "digest": "d" * 64, "revision": "c0ffee1", "at": "2026-01-01T00:00:00Z"}
            ],
        },
    }


def _set(*, settled: bool) -> dict[str, Any]:
    """A set of its own name without children that are unwell: a rollout that ends when it is settled."""
    namespace, _, name = _WAITED.partition("/")
    return {
        "kind": "ApplicationSet",
        "metadata": {"namespace": namespace, "name": name, "generation": 2},
        "spec": {},
        "status": {
            "observedGeneration": 2 if settled else 1,
            "plan": {"id": 4, "revisions": {"r@main": "c0ffee1" + "0" * 33}},
            "health": {"state": "Healthy", "counts": {"Healthy": 1000}},
            "conditions": [{"type": "Ready", "status": "True" if settled else "False", "message": ""}],
            "children": 1000,
        },
    }


@asynccontextmanager
async def _session(client: RestClient, port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who may see everything, by a ServiceAccount's token."""
    identity = await HubIdentity.load_or_create(client, now=datetime.now(UTC))
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await _put(client, f"{accounts}/reader", {"apiVersion": "v1", "kind": "ServiceAccount"})
    rules = [{"apiGroups": ["axletree.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "rules": rules}
    await _put(client, f"{_RBAC}/clusterroles/bench-reader", role)
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "bench-reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
    }
    await _put(client, f"{_RBAC}/clusterrolebindings/bench-reader", binding)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await client.request("POST", f"{accounts}/reader/token", body=asked))["status"]["token"]
    tls = ssl.create_default_context(cadata=identity.ca_pem)
    deadline = time.monotonic() + 60
    async with aiohttp.ClientSession(
        base_url=f"https://127.0.0.1:{port}",
        connector=aiohttp.TCPConnector(ssl=tls, limit=0),
        headers={"Authorization": f"Bearer {token}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=60),
    ) as session:
        while True:
            try:
                async with session.get(f"{PREFIX}/openapi.json"):
                    break
            except aiohttp.ClientConnectionError as error:
                if time.monotonic() > deadline:
                    raise BenchFailed("the API does not answer") from error
                await asyncio.sleep(0.1)
        yield session


async def _put_waited(client: RestClient) -> None:
    """The set itself: what a commit that cannot be planned leaves behind is read there."""
    namespace, _, name = _WAITED.partition("/")
    await _put(client, f"/api/v1/namespaces/{namespace}", {"apiVersion": "v1", "kind": "Namespace"})
    template = {
        "metadata": {"name": "app-{{ name }}"},
        "spec": {"cluster": "{{ name }}", "sources": [{"repoURL": "r", "path": "."}]},
    }
    spec = {"generators": [{"clusters": {}}], "template": template}
    manifest = {"apiVersion": API_VERSION, "kind": "ApplicationSet", "spec": spec}
    await _put(client, f"/apis/{API_VERSION}/namespaces/{namespace}/applicationsets/{name}", manifest)


async def _put(client: RestClient, path: str, manifest: dict[str, Any]) -> None:
    metadata = {"name": path.rpartition("/")[2]}
    await client.apply(path, manifest | {"metadata": metadata}, field_manager="bench", force=True)
