"""The history of a real hub: what its database says of a real fleet, also after somebody deleted it."""

from __future__ import annotations

import asyncio
import signal
import ssl
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hub.gateway.identity import HubIdentity
from hub.history import queries
from hub.history.appindex import AppFilter
from hub.history.database import Database, DatabaseAway
from hub.history.queries import EventFilter
from hub.history.search import Search
from hub.web.asked import AppQuery, EventQuery
from hub.web.client import Client
from hub.web.connection import ApiProblem
from tests.integration.hub_rig import SHOP, fleet, free_port
from tests.integration.postgres_rig import postgres_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet
    from tests.integration.postgres_rig import Postgres

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(360)]


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


async def told(url: str, shop: Fleet) -> dict[str, Any]:
    """What the database says now: the apps with health, sync and deployments, and the set."""
    database = Database(url)
    search = Search(database)
    try:
        page = await search.list_apps(AppFilter(namespaces=[shop.namespace]), after="", limit=99, count=True)
        sets = await database.run(
            partial(queries.list_sets, namespaces=[shop.namespace], visible=None, after="", limit=99)
        )
        found: dict[str, Any] = {
            each["name"]: (each["plan"], each["ready"], each["children"]) for each in sets.items
        }
        for row in page.items:
            history = await database.run(partial(queries.history_of, app=row["key"], before=0, limit=99))
            releases = [(each["release"], each["revision"], each["well"]) for each in history.items]
            found[row["name"]] = (row["health"], row["sync"], releases)
    except DatabaseAway:
        return {}
    else:
        return found
    finally:
        search.close()
        await database.close()


def well(found: dict[str, Any], *, release: int) -> bool:
    apps = [found.get(name) for name in (*SHOP, "extra")]
    return all(one and one[:2] == ("Healthy", "Synced") and one[2][0][0] >= release for one in apps) and bool(
        found.get("shop") and found["shop"][1]
    )


async def test_f1_a_deleted_database_returns_from_objects_and_reports(shop: Fleet) -> None:
    port, path = free_port(), shop.folder / "data" / "history.sqlite"
    url = f"sqlite:///{path}"
    hub = await shop.hub("first", port)
    await shop.join(port)
    await shop.shop()

    async def there() -> bool:
        return well(await told(url, shop), release=1)

    await shop.until("all of it is in the database", there)
    await shop.settled()
    before = await told(url, shop)
    database = Database(url)
    page = await database.run(
        partial(queries.list_events, wanted=EventFilter(namespaces=[shop.namespace]), limit=999)
    )
    await database.close()
    released = {row["name"] for row in page.items if row["reason"] == "Released"}
    assert released == {*SHOP, "extra"}

    await hub.stop()
    for each in path.parent.glob("history.sqlite*"):
        each.unlink()
    await shop.hub("second", port)
    await shop.led_by("second")

    async def back() -> bool:
        return await told(url, shop) == before

    await shop.until("the deleted database is back as it was", back)


async def test_the_hub_keeps_its_history_in_postgresql_by_url(shop: Fleet) -> None:
    with postgres_server() as server:
        port, url = free_port(), server.url
        api = free_port()
        await shop.hub("first", port, database=url, api_port=api)
        await shop.join(port)
        await shop.shop()

        async def there() -> bool:
            return well(await told(url, shop), release=1)

        await shop.until("all of it is in the database", there)
        await shop.release(db="2")

        async def newer() -> bool:
            found = await told(url, shop)
            return well(found, release=1) and found["db"][2][0][0] == 2

        await shop.until("the new deployment is, too", newer)
        await _outlasts(shop, server, f"https://127.0.0.1:{api}")
        await shop.hubs[0].stop()


async def _outlasts(shop: Fleet, server: Postgres, api: str) -> None:
    """A database that dies delays no deployment, is told of as what it is, and misses nothing once it is back."""
    identity = await HubIdentity.load_or_create(shop.client, now=datetime.now(UTC))
    trusted = ssl.create_default_context(cadata=identity.ca_pem)
    token = await _admin(shop)
    async with Client(api, token=token, ca=trusted) as client:
        wanted = EventQuery(name="db", reason=["Released"])
        first = (await client.list_events(wanted)).items[0]
        assert first.new == "1"
        heard: list[str] = []

        async def listen() -> None:
            async for event in client.follow(wanted, last=first.id):
                heard.append(event.new)  # noqa: PERF401 - as they come

        listening = asyncio.create_task(listen())
        try:
            await shop.until("who listens is there", partial(_as_expected, heard, ["2"]))
            server.stop(signal.SIGQUIT)
            await shop.release(db="3")
            with pytest.raises(ApiProblem) as refused:
                await client.list_applications()
            assert (refused.value.status, refused.value.passing) == (503, True)
            server.start()

            async def back() -> bool:
                found = await told(server.url, shop)
                return well(found, release=1) and found["db"][2][0][0] == 3

            await shop.until("what was deployed meanwhile is told", back)
            page = await client.list_applications(AppQuery(q="db", health=["Healthy"]))
            assert [each.release for each in page.items if each.name == "db"] == [3]

            await shop.until("who listens hears of it once", partial(_as_expected, heard, ["2", "3"]))
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _as_expected(found: list[str], wanted: list[str]) -> bool:
    return found == wanted


async def _admin(shop: Fleet) -> str:
    account = f"/api/v1/namespaces/{shop.namespace}/serviceaccounts/admin"
    await shop.client.apply(
        account,
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "admin", "namespace": shop.namespace},
        },
        field_manager="tests",
    )
    name = f"{shop.namespace}-admin"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "admin", "namespace": shop.namespace}],
    }
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}"
    await shop.client.apply(path, binding, field_manager="tests")
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await shop.client.request("POST", f"{account}/token", body=asked)
    return str(made["status"]["token"])
