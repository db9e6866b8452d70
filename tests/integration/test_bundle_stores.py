"""Bundles in a real PostgreSQL and on a real S3 server: one contract, and a hub whose processes share no folder."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from agent.contract.bundle import StoredBundle
from agent.contract.canonical import sha256_hex
from hub.store.choose import open_store
from hub.store.port import StoreAway
from tests.integration.hub_rig import SHOP, fleet, free_port
from tests.integration.postgres_rig import postgres
from tests.integration.s3_rig import s3_program, s3_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from hub.store.port import BundleStore
    from tests.integration.hub_rig import Fleet

HOUR = 3600.0
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hush}
"""


def bundle(content: bytes) -> StoredBundle:
    return StoredBundle(digest="d", blob=sha256_hex(content), data=content)


async def contract(url: str, folder: Path) -> None:
    """What any shared place has to do for two processes."""

    def process(name: str) -> BundleStore:
        return open_store(url, folder / name)

    leader, other = process("leader"), process("other")
    many = [bundle(b"bundle %d" % number) for number in range(30)]
    for one in (*many, many[0]):
        await leader.keep(one)
    assert [await other.fetch(one.blob) for one in many] == [one.data for one in many]
    assert await other.fetch("0" * 64) is None
    live = {one.blob for one in many[:10]}
    assert leader.collect(live, older_than=HOUR, now=time.time()) == 0, "all are young"
    later = time.time() + 2 * HOUR
    assert leader.collect(live, older_than=HOUR, now=later) == 20
    fresh = process("fresh")
    there = [await fresh.fetch(one.blob) is not None for one in many]
    assert there == [True] * 10 + [False] * 20
    assert leader.collect(live, older_than=HOUR, now=later) == 0
    for store in (leader, other, fresh):
        store.close()


async def away(url: str, folder: Path) -> None:
    """A place that nobody answers at, or that refuses: told without its secrets, and nothing is deleted."""
    store, one = open_store(url, folder), bundle(b"one")
    for failing in (store.keep(one), store.fetch(one.blob)):
        with pytest.raises(StoreAway) as found:
            await failing
        assert "hush" not in str(found.value)
    with pytest.raises(StoreAway):
        store.collect(set(), older_than=0, now=time.time())
    store.close()


async def test_bundles_in_postgresql(tmp_path: Path) -> None:
    with postgres() as url:
        await contract(url, tmp_path)
    await away("postgresql://axle:hush@127.0.0.1:1/none", tmp_path / "away")


@pytest.fixture(scope="session")
def program() -> Path:
    return s3_program()


@pytest.mark.timeout(900)  # the server is built at the first use on a machine
async def test_bundles_in_s3(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(program, "bundles") as settings:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        await contract("s3://bundles/some/prefix", tmp_path)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        await away("s3://bundles/some/prefix", tmp_path / "refused")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        await away("s3://bundles/some/prefix", tmp_path / "away")


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def database() -> Iterator[str]:
    with postgres() as url:
        yield url


async def applied(shop: Fleet) -> tuple[dict[str, tuple[str, str]], list[tuple[str, str, int]]]:
    """Every object on the spoke, and what is released to it, once all is quiet."""
    there = {
        key: version for key, version in (await shop.settled()).items() if f"{shop.namespace}-apps/" in key
    }
    apps = (await shop.assignment())["apps"]
    return there, [(each["app"], each["digest"], each["release"]) for each in apps]


@pytest.mark.cluster
async def test_gateways_share_bundles_and_no_folder(database: str, shop: Fleet) -> None:
    """The controller renders on one disk; the agent fetches from a gateway with another one."""
    ports = free_port(), free_port()
    more = {"bundles": database, "database": database}
    await shop.hub("leads", ports[0], gateway="one", **more)
    await shop.led_by("leads")
    folder = str(shop.folder / "elsewhere")
    await shop.hub("serves", ports[1], gateway="two", role="gateway", data_dir=folder, **more)
    await shop.shop()
    await shop.join(ports[1])
    await shop.settled()
    await shop.author.commit({"apps/db/secret.yaml": SECRET})
    await shop.release(**dict.fromkeys(SHOP, "2"))
    before = await applied(shop)
    assert await shop.client.get(f"/api/v1/namespaces/{shop.namespace}-apps/secrets/login")

    # Another controller takes over, with an empty folder: it renders anew, seals anew, and releases nothing again.
    third = str(shop.folder / "third")
    await shop.hub("follows", free_port(), gateway="three", data_dir=third, **more)
    await shop.hubs[0].kill()
    await shop.led_by("follows")
    assert await applied(shop) == before, shop.moved()
    await shop.release(**dict.fromkeys(SHOP, "3"))
