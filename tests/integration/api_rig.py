"""A hub with its API over a small fleet, and callers of it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from hub.gateway.identity import HubIdentity
from hub.web.policy import PREFIX
from tests.integration.hub_rig import SHOP, fleet, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.kube.client import RestClient
    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet


RBAC = "/apis/rbac.authorization.k8s.io/v1"
_STREAM = aiohttp.ClientTimeout(total=None, sock_read=60)
"""A stream lasts as long as its test; it is never silent for long."""
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
READ = [{"apiGroups": ["axletree.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]


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
        async with self._session.get(
            f"{PREFIX}/events", params=params, headers=headers, timeout=_STREAM
        ) as answer:
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
        await make(client, f"{account}/{name}", {"apiVersion": "v1", "kind": "ServiceAccount"})
        kind = "ClusterRole" if everywhere else "Role"
        where = RBAC if everywhere else f"{RBAC}/namespaces/{namespace}"
        called = f"{namespace}-{name}"
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "rules": rules}
        await make(client, f"{where}/{kind.lower()}s/{called}", role)
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{kind}Binding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": called},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        await make(client, f"{where}/{kind.lower()}bindings/{called}", binding)
        await self._granted(f"system:serviceaccount:{namespace}:{name}", rules, everywhere=everywhere)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = (await client.request("POST", f"{account}/{name}/token", body=request))["status"]["token"]
        return Api(self.session, token)

    async def _granted(self, user: str, rules: Any, *, everywhere: bool) -> None:
        """Wait until the API server itself has heard of these rights: what the hub is told, it keeps for a while."""
        where = {} if everywhere else {"namespace": self.shop.namespace}
        for rule, verb in [(each, verb) for each in rules for verb in each["verbs"]]:
            attributes = {"group": rule["apiGroups"][0], "resource": rule["resources"][0], "verb": verb}
            spec = {"user": user, "resourceAttributes": attributes | where}
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": spec,
            }

            async def allowed(review: dict[str, Any] = review) -> bool:
                status = (await self.shop.client.request("POST", _REVIEWS, body=review)).get("status") or {}
                return bool(status.get("allowed"))

            await self.shop.until(f"{user} may {verb} {attributes['resource']}", allowed)

    async def commit(self, **values: str) -> str:
        await self.shop.commit(**values)
        return await self.shop.author.git("rev-parse", "HEAD")


async def make(client: RestClient, path: str, manifest: dict[str, Any]) -> None:
    parts = path.split("/")
    metadata = {"name": parts[-1]} | (
        {"namespace": parts[parts.index("namespaces") + 1]} if "namespaces" in parts else {}
    )
    await client.apply(path, manifest | {"metadata": metadata}, field_manager="tests", force=True)


async def axle(world: World, caller: Api, *arguments: str) -> tuple[int, str]:
    """The command line, as a pipeline runs it."""
    ca = world.shop.folder / "ca.pem"
    ca.write_text(world.ca)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub.cli.main", *arguments),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"AXLETREE_API": world.url, "AXLETREE_CA": str(ca), "AXLETREE_TOKEN": caller.token},
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), 180)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, printed.decode()


async def ended(caller: Api, path: str, revision: str) -> dict[str, Any]:
    """What comes of a commit, however long that takes."""
    async with asyncio.timeout(180):
        while True:
            status, said = await caller.get(path, revision=revision, wait="60s", until="End")
            assert status in (200, 503), said
            if status == 200 and said["state"] not in ("Pending", "Progressing"):
                found: dict[str, Any] = said
                return found


@pytest.fixture
async def world(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(fleet(own_server, namespace, tmp_path))
        port, api = free_port(), free_port()
        await shop.hub("first", port, api_port=api, lease_seconds=15.0)  # commands ask whether it leads
        await shop.join(port)
        await shop.shop()
        identity = await HubIdentity.load_or_create(shop.client, now=datetime.now(UTC))
        session = aiohttp.ClientSession(
            base_url=f"https://127.0.0.1:{api}",
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=identity.ca_pem)),
            timeout=aiohttp.ClientTimeout(total=360),
        )
        await stack.enter_async_context(session)
        made = World(shop, session, url=f"https://127.0.0.1:{api}", ca=identity.ca_pem)
        reader = await made.caller("reader", READ)

        async def well() -> bool:
            try:
                status, page = await reader.get("/applications", health="Healthy", sync="Synced")
            except aiohttp.ClientConnectionError:
                return False
            return status == 200 and page["total"] == len(SHOP) + 1

        await shop.until("the API tells of a healthy fleet", well)
        yield made
