from __future__ import annotations

import base64
import gzip
from typing import TYPE_CHECKING

import pytest

from hub.sources.chartaddress import ChartAddress
from hub.sources.charts import ChartRepositories
from hub.sources.credentials import LABEL, Credentials
from hub.sources.errors import (
    ChartInvalid,
    RepositoryDenied,
    RepositoryRefused,
    RepositoryUnreachable,
    RevisionNotFound,
    SourceTooLarge,
)
from hub.sources.grants import Grants
from tests.unit.hub.sources.chart_server import ChartServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = Credentials("robot", "hunter2")


@pytest.fixture
async def server() -> AsyncIterator[ChartServer]:
    running = ChartServer()
    for version in ("1.0.0", "1.2.0", "1.10.0+build", "2.0.0-rc.1"):
        running.add(
            "web", version, {"values.yaml": f"v: {version}\n".encode(), "templates/a.yaml": b"a: 1\n"}
        )
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def charts(tmp_path: Path, server: ChartServer) -> AsyncIterator[ChartRepositories]:
    def credentials(url: str) -> Credentials | None:
        return SECRET if server.password and url.startswith(server.url) else None

    made = ChartRepositories(tmp_path / "charts", credentials=credentials)
    yield made
    await made.close()


@pytest.fixture(params=["index", "oci"])
def address(request: pytest.FixtureRequest, server: ChartServer) -> str:
    base = f"{server.url}/stable" if request.param == "index" else f"{server.oci}/stable"
    return f"{base}#web"


@pytest.mark.parametrize(
    ("revision", "version"),
    [
        ("1.0.0", "1.0.0"),
        ("^1.0", "1.10.0+build"),
        ("~1.2", "1.2.0"),
        ("", "1.10.0+build"),
        ("HEAD", "1.10.0+build"),
        ("2.0.0-rc.1", "2.0.0-rc.1"),
    ],
)
async def test_versions_and_ranges(
    charts: ChartRepositories, address: str, revision: str, version: str
) -> None:
    digest = await charts.resolve(address, revision)
    files = await charts.files(address, digest, "")
    assert files["values.yaml"] == f"v: {version}\n".encode()
    assert await charts.tree_id(address, digest, "") == digest
    assert await charts.read(address, digest, ["templates/a.yaml"]) == {"templates/a.yaml": b"a: 1\n"}
    assert await charts.files(address, digest, "templates") == {"a.yaml": b"a: 1\n"}
    assert await charts.tree_id(address, digest, "nope") is None
    assert (await charts.listing(address, digest)).dirs == ("templates",)
    assert charts.known_at(address) is not None


async def test_an_archive_is_fetched_once(
    charts: ChartRepositories, server: ChartServer, address: str
) -> None:
    first = await charts.resolve(address, "^1.0")
    calls = len(server.seen)
    assert await charts.resolve(address, "^1.0") == first
    assert len(server.seen) == calls, "within the interval nobody is asked"
    assert await charts.resolve(address, "^1.0", fresh=True) == first
    assert not any(path.endswith(".tgz") or "/blobs/" in path for path, _ in server.seen[calls:])
    newer = server.add("web", "1.11.0")
    assert await charts.resolve(address, "^1.0", fresh=True) == newer


async def test_what_is_not_there_is_said(charts: ChartRepositories, address: str) -> None:
    with pytest.raises(RevisionNotFound):
        await charts.resolve(address, "^3")
    with pytest.raises((RevisionNotFound, RepositoryDenied)):
        await charts.resolve(address, "9.9.9")
    with pytest.raises(RepositoryUnreachable, match="not in the cache"):
        await charts.files(address, "0" * 64, "")


async def test_s6_a_digest_is_a_promise(
    charts: ChartRepositories, server: ChartServer, address: str, tmp_path: Path
) -> None:
    server.digests = {"web-1.0.0.tgz": "0" * 64, "1.0.0": "0" * 64}
    with pytest.raises(ChartInvalid, match="digest"):
        await charts.resolve(address, "1.0.0")
    server.digests = {"web-1.0.0.tgz": "../../secret", "1.0.0": "../../secret"}
    (tmp_path / "secret.tgz").write_bytes(b"x")
    with pytest.raises((ChartInvalid, RevisionNotFound)):
        await charts.resolve(address, "1.0.0", fresh=True)
    digest = await charts.resolve(address, "1.2.0")
    (tmp_path / "charts" / f"{digest}.tgz").write_bytes(b"other")
    with pytest.raises(RepositoryUnreachable, match="damaged"):
        await charts.files(address, digest, "")
    assert await charts.resolve(address, "1.2.0") == digest, "and it is fetched again"


async def test_s6_credentials_stay_with_their_host(charts: ChartRepositories, server: ChartServer) -> None:
    other = ChartServer()
    await other.start()
    try:
        other.archives = dict(server.archives)
        server.password = "hunter2"
        await charts.resolve(f"{server.url}/stable#web", "1.0.0")
        assert all(given.startswith("Basic ") for _, given in server.seen)
        server.redirect = f"{other.url}/files"
        await charts.resolve(f"{server.url}/stable#web", "1.2.0")
        assert [given for _, given in other.seen] == [""]
        other.seen.clear()
        server.redirect = ""
        server.urls = {"web-2.0.0-rc.1.tgz": f"{other.url}/files/web-2.0.0-rc.1.tgz"}
        await charts.resolve(f"{server.url}/stable#web", "2.0.0-rc.1", fresh=True)
        assert [given for _, given in other.seen] == [""]
    finally:
        await other.stop()


async def test_s6_what_one_projects_credentials_fetched_is_not_for_another(
    server: ChartServer, address: str, tmp_path: Path
) -> None:
    """Neither from what was answered a moment ago, nor by an index of one's own that names the digest."""
    server.password, server.token = "hunter2", "t0ken"
    whole = {"url": server.url, "username": SECRET.username, "password": SECRET.password}
    own = {
        "metadata": {"namespace": "shop", "name": "own", "labels": {LABEL: "git"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in whole.items()},
    }
    secrets, other = [own], ChartServer()
    grants = Grants(lambda: secrets)
    charts = ChartRepositories(tmp_path / "shared", credentials=grants.match, projects=grants.of)
    shop, web = charts.seen_by("shop"), charts.seen_by("web")
    await other.start()
    try:
        digest = await shop.resolve(address, "1.0.0")
        assert (await shop.files(address, digest, ""))["values.yaml"] == b"v: 1.0.0\n"
        for view in (web, charts):
            with pytest.raises(RepositoryDenied):
                await view.resolve(address, "1.0.0")
        assert (web.known_at(address), web.reader(address), shop.reader(address)) == (None, "", "shop")
        other.add("web", "1.0.0", {"values.yaml": b"v: none\n"})
        other.digests = {"web-1.0.0.tgz": digest, "1.0.0": digest}
        with pytest.raises((ChartInvalid, RepositoryDenied)):
            await web.resolve(
                address.replace(server.url.partition("//")[2], other.url.partition("//")[2]), "1.0.0"
            )
        secrets.append({**own, "metadata": {**own["metadata"], "namespace": "web"}})
        grants.changed()
        assert await web.resolve(address, "1.0.0") == digest
    finally:
        await charts.close()
        await other.stop()


async def test_a_registrys_token_is_asked_for(charts: ChartRepositories, server: ChartServer) -> None:
    server.password, server.token = "hunter2", "t0ken"
    await charts.resolve(f"{server.oci}/stable#web", "1.0.0")
    assert ("/token", SECRET.header()) in server.seen
    server.token = "bad\r\nHeader: x"
    with pytest.raises(RepositoryDenied):
        await charts.resolve(f"{server.oci}/stable#web", "1.2.0")


async def test_without_credentials_it_is_denied(tmp_path: Path, server: ChartServer) -> None:
    server.password = "hunter2"
    charts = ChartRepositories(tmp_path / "other", credentials=lambda _: None)
    try:
        with pytest.raises(RepositoryDenied) as caught:
            await charts.resolve(f"{server.url}/stable#web", "1.0.0")
    finally:
        await charts.close()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"not gzip", ChartInvalid),
        (gzip.compress(b"not a tar" * 100), ChartInvalid),
        (gzip.compress(b"\0" * 200_000_000, compresslevel=1), SourceTooLarge),
    ],
    ids=["gzip", "tar", "bomb"],
)
async def test_s7_archives_are_bounded(
    charts: ChartRepositories, server: ChartServer, data: bytes, kind: type[Exception], address: str
) -> None:
    server.archives["web-7.0.0.tgz"] = data
    with pytest.raises(kind):
        await charts.resolve(address, "7.0.0")


async def test_s6_archives_hold_no_links_and_do_not_climb(
    charts: ChartRepositories, server: ChartServer, address: str
) -> None:
    server.add("web", "7.0.0", {"../../evil": b"x"})
    with pytest.raises(ChartInvalid):
        await charts.resolve(address, "7.0.0")


@pytest.mark.parametrize(
    "text",
    [
        "https://charts.example.com",
        "https://charts.example.com#",
        "https://charts.example.com#../x",
        "https://u:p@charts.example.com#web",
        "file:///etc#web",
        "ssh://git@h/x#web",
        "oci://h/../x#web",
        "oci://h/UPPER#web",
        "https://h/a/../b#web",
    ],
)
def test_s6_addresses_are_checked(text: str) -> None:
    with pytest.raises(RepositoryRefused):
        ChartAddress.parse(text)


def test_addresses_have_one_spelling() -> None:
    spellings = ("https://Charts.example.com/stable/#web", "https://charts.example.com:443/stable#web")
    assert len({str(ChartAddress.parse(text)) for text in spellings}) == 1
    assert (
        str(ChartAddress.parse("oci://registry.example.com/org#web")) == "oci://registry.example.com/org/web"
    )
