"""What others' chart repositories, registries and archives could do to the hub, and do not."""

from __future__ import annotations

import gzip
import io
import json
import socket
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from hub.sources.archives import files_of
from hub.sources.chartindex import versions_of
from hub.sources.chartlock import lacking
from hub.sources.charts import ChartRepositories
from hub.sources.credentials import Credentials
from hub.sources.errors import (
    ArtifactInvalid,
    ChartInvalid,
    RepositoryDenied,
    RepositoryRefused,
    RepositoryUnreachable,
    SourceError,
    SourceTooLarge,
)
from hub.sources.reach import is_never_asked
from hub.sources.urls import RepoUrl
from tests.unit.hub.sources.chart_server import ChartServer, chart_archive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LIMIT = 1024 * 1024
SECRET = Credentials("robot", "hunter2")
OTHERS = Credentials("elsewhere", "other-secret")


def archive(*entries: tarfile.TarInfo, kind: int = tarfile.PAX_FORMAT) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", format=kind) as tar:
        chart = tarfile.TarInfo("web/Chart.yaml")
        chart.size = 5
        tar.addfile(chart, io.BytesIO(b"a: 1\n"))
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * min(entry.size, 100)))
    return raw.getvalue()


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0, **pax: str
) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size, found.pax_headers = kind, link, size, pax
    return found


@pytest.mark.parametrize(
    "bad",
    [
        entry("web/../../etc/cron.d/x"),
        entry("/etc/passwd"),
        entry("web/..\\..\\evil"),
        entry("../web/x"),
        entry("web/link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("web/link", tarfile.SYMTYPE, "Chart.yaml"),
        entry("web/Chart.lock", tarfile.SYMTYPE, "../../../root/.bashrc"),
        entry("web/hard", tarfile.LNKTYPE, "/etc/shadow"),
        entry("web/device", tarfile.CHRTYPE),
        entry("web/pipe", tarfile.FIFOTYPE),
        entry("web/long", path="../../evil"),
        entry("web/long", tarfile.REGTYPE, linkpath="/etc/passwd", path="/evil"),
    ],
    ids=lambda one: f"{one.name} {one.linkname} {dict(one.pax_headers)}".strip(),
)
@pytest.mark.parametrize("chart", [True, False])
def test_s6_archives_of_charts_and_artifacts_hold_files_inside_them_alone(
    bad: tarfile.TarInfo, *, chart: bool
) -> None:
    with pytest.raises((ChartInvalid, ArtifactInvalid)):
        files_of(archive(bad), limit_bytes=LIMIT, where="here", chart=chart)


def test_s7_a_sparse_file_of_a_terabyte_is_not_unfolded() -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    bomb = entry("web/GNUSparseFile.0/bomb", size=100, **{**sparse, "GNU.sparse.name": "web/bomb"})
    old = entry("web/bomb", tarfile.GNUTYPE_SPARSE, size=100)
    for one, kind in ((bomb, tarfile.PAX_FORMAT), (old, tarfile.GNU_FORMAT)):
        with pytest.raises(SourceError):
            files_of(archive(one, kind=kind), limit_bytes=LIMIT, where="here")


def test_s7_a_gzip_bomb_within_a_gzip_bomb_is_bounded_before_it_is_read() -> None:
    inner = gzip.compress(b"\0" * 50_000_000)
    started = time.process_time()
    with pytest.raises(SourceTooLarge):
        files_of(gzip.compress(b"\0" * 50_000_000), limit_bytes=LIMIT, where="here")
    found = files_of(chart_archive("web", "1.0.0", {"data.gz": inner}), limit_bytes=LIMIT, where="here")
    assert found["data.gz"] == inner
    assert time.process_time() - started < 5


def test_s7_an_archive_of_very_many_files_is_refused() -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as tar:
        for number in range(20_002):
            tar.addfile(tarfile.TarInfo(f"web/{number}"))
    with pytest.raises(SourceTooLarge):
        files_of(raw.getvalue(), limit_bytes=64 * LIMIT, where="here")


def test_s7_an_index_of_aliases_does_not_unfold() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join([*levels, "entries: {web: *a11}"])
    started = time.process_time()
    assert versions_of(text.encode(), where="https://h") == {"web": {}}
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "data",
    [b"{" * 100_000, b"[" * 100_000, b'{"entries": ' + b"[" * 5000, b"a: &a [*a]", b"\xff\xfe", b"- 1", b""],
    ids=["maps", "lists", "deep", "itself", "bytes", "list", "empty"],
)
def test_s7_an_index_that_does_not_read_is_an_error_and_no_crash(data: bytes) -> None:
    with pytest.raises(ChartInvalid):
        versions_of(data, where="https://h")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://inside/x.tgz",
        "https://u:p@h/x.tgz",
        "ftp://h/x",
        "gopher://h/x",
        "https://[h/x",
        "//[::1",
        "https://h:99999/x",
        "https://h:0/x",
        "https://h:port/x",
        "https://ex\u2100.com/x",
    ],
)
def test_s6_an_index_leads_to_no_other_protocol(url: str) -> None:
    index = {"entries": {"web": [{"version": "1.0.0", "urls": [url]}]}}
    assert versions_of(json.dumps(index).encode(), where="https://h")["web"] == {}


@pytest.mark.parametrize("name", ["Chart.yaml", "Chart.lock"])
def test_s7_a_lock_of_aliases_does_not_unfold(name: str) -> None:
    levels = ["a0: &a0 {name: x}"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    bomb = "\n".join([*levels, "dependencies: *a11"]).encode()
    files = {"Chart.yaml": b"dependencies: [{name: a, version: '^1', repository: 'https://h'}]", name: bomb}
    started = time.process_time()
    with pytest.raises(SourceError):
        lacking(files, where="here")
    assert time.process_time() - started < 5


@pytest.fixture
async def server() -> AsyncIterator[ChartServer]:
    running = ChartServer()
    running.add("web", "1.0.0")
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def charts(tmp_path: Path) -> AsyncIterator[ChartRepositories]:
    def credentials(url: str) -> Credentials | None:
        return SECRET if url.endswith(("/stable/web", "index.yaml")) else OTHERS if "/token" in url else None

    made = ChartRepositories(tmp_path / "kept", credentials=credentials)
    yield made
    await made.close()


async def test_s6_a_registry_that_sends_elsewhere_for_tokens_gives_nothing_away(
    charts: ChartRepositories, server: ChartServer
) -> None:
    other = ChartServer(token="t0ken")
    await other.start()
    try:
        server.token = "t0ken"
        server.realm = f"{other.url}/token"
        await charts.resolve(f"{server.oci}/stable#web", "1.0.0")
        assert [given for path, given in other.seen if path == "/token"] == [OTHERS.header()]
        assert SECRET.header() not in {given for _, given in other.seen}
    finally:
        await other.stop()


@pytest.mark.parametrize(
    "to", ["http://[h/x", "http://h:99999/x", "http://h:port/x", "http://", "//[::1", "http:///x"]
)
async def test_s6_a_redirect_to_no_address_is_refused(
    charts: ChartRepositories, server: ChartServer, to: str
) -> None:
    server.redirect = to
    with pytest.raises(RepositoryRefused):
        await charts.resolve(f"{server.url}#web", "1.0.0")


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "168.63.129.16",
        "100.100.100.200",
    ],
)
async def test_s6_no_source_is_at_a_metadata_address(
    charts: ChartRepositories, server: ChartServer, host: str
) -> None:
    """Neither named by a person, in any spelling, nor by a repository that sends there."""
    for address in (f"http://{host}/a", f"ssh://git@{host}/a", f"git@{host}:a"):
        with pytest.raises(RepositoryRefused, match="metadata"):
            RepoUrl.parse(address)
    with pytest.raises(RepositoryRefused, match="metadata"):
        await charts.resolve(f"oci://{host}/a", "1.0.0")
    server.redirect = f"http://{host}/latest"
    with pytest.raises(RepositoryRefused, match="metadata"):
        await charts.resolve(f"{server.url}#web", "1.0.0")


async def test_s6_a_name_that_leads_to_a_metadata_address_is_refused(
    charts: ChartRepositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [place])
    with pytest.raises(RepositoryRefused, match="metadata"):
        await charts.resolve("http://charts.example.com#web", "1.0.0")


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "127.0.0.1", "192.168.1.1", "fd00::1", "git.example.com", "dead.beef"]
)
def test_hosts_of_ones_own_are_asked(host: str) -> None:
    assert not is_never_asked(host)


async def test_s6_a_list_of_tags_that_goes_on_nowhere_is_refused(
    charts: ChartRepositories, server: ChartServer
) -> None:
    server.link = '<http://[h/x>; rel="next"'
    with pytest.raises(ChartInvalid):
        await charts.resolve(f"{server.oci}/stable#web", "^1")


async def test_s6_no_credentials_but_those_of_secrets_are_sent(
    charts: ChartRepositories, server: ChartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login robot password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    await charts.resolve(f"{server.url}#web", "1.0.0")
    assert {given for _, given in server.seen} == {"", SECRET.header()}


@pytest.mark.parametrize(
    "realm",
    [
        "file:///etc/passwd",
        "ftp://h/token",
        "https://u:p@h/token",
        "token",
        "https://[h/token",
        "https://h:99999/token",
    ],
)
async def test_s6_a_place_for_tokens_that_is_none_is_refused(
    charts: ChartRepositories, server: ChartServer, realm: str
) -> None:
    server.token, server.realm = "t0ken", realm
    with pytest.raises((RepositoryRefused, RepositoryDenied)):
        await charts.resolve(f"{server.oci}/stable#web", "1.0.0")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[]",
        b'{"layers": "x"}',
        b'{"layers": [1, null, {"mediaType": 1}]}',
        json.dumps(
            {"layers": [{"mediaType": "application/x.tar+gzip", "digest": "sha256:../../../etc/passwd"}]}
        ).encode(),
    ],
    ids=["deep", "list", "text", "entries", "path"],
)
async def test_s6_s7_a_manifest_of_another_shape_is_refused(
    charts: ChartRepositories, server: ChartServer, body: bytes
) -> None:
    server.files["/v2/team/apps/manifests/latest"] = body
    with pytest.raises(ArtifactInvalid):
        await charts.resolve(f"{server.oci}/team/apps", "")


async def test_s7_an_endless_body_ends(charts: ChartRepositories, server: ChartServer) -> None:
    server.files["/v2/team/apps/manifests/latest"] = b" " * (5 * LIMIT)
    with pytest.raises(SourceTooLarge):
        await charts.resolve(f"{server.oci}/team/apps", "")


async def test_s6_a_record_of_origins_that_was_damaged_is_no_origin(
    charts: ChartRepositories, server: ChartServer, tmp_path: Path
) -> None:
    address = f"{server.oci}/stable/web"
    commit = await charts.resolve(address, "1.0.0")
    (tmp_path / "kept" / f"{commit}.json").write_text("[")
    with pytest.raises(RepositoryUnreachable):
        await charts.files(address, commit, "")
    assert await charts.resolve(address, "1.0.0", fresh=True) == commit
    assert "Chart.yaml" in await charts.files(address, commit, "")


async def test_s7_s10_a_compressed_index_is_bounded_and_read(
    charts: ChartRepositories, server: ChartServer
) -> None:
    index = {"entries": {"web": [{"version": "1.0.0", "urls": ["charts/web-1.0.0.tgz"]}]}}
    path = "/stable/index.yaml"
    server.encoded.add(path)
    for data, kind in (
        (gzip.compress(b" " * 200_000_000, compresslevel=1), SourceTooLarge),
        (gzip.compress(json.dumps(index).encode())[:-9], RepositoryUnreachable),
        (b"not gzip", RepositoryUnreachable),
    ):
        server.files[path] = data
        with pytest.raises(kind):
            await charts.resolve(f"{server.url}/stable#web", "1.0.0", fresh=True)
    server.files[path] = gzip.compress(json.dumps(index).encode())
    assert await charts.resolve(f"{server.url}/stable#web", "1.0.0", fresh=True)


async def test_an_archive_is_not_unpacked_by_a_server_that_calls_it_encoded(
    charts: ChartRepositories, server: ChartServer
) -> None:
    path = "/stable/charts/web-1.0.0.tgz"
    server.files[path] = server.archives["web-1.0.0.tgz"]
    server.encoded.add(path)
    commit = await charts.resolve(f"{server.url}/stable#web", "1.0.0")
    assert "Chart.yaml" in await charts.files(f"{server.url}/stable#web", commit, "")
