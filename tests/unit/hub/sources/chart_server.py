"""A Helm repository and an OCI registry of one process, on a real socket."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from hub.sources.charts import ChartRepositories
from hub.sources.registry import CHART_LAYER, MANIFEST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

FLUX = "application/vnd.cncf.flux.content.v1.tar+gzip"


def chart_archive(name: str, version: str, more: Mapping[str, bytes] | None = None) -> bytes:
    raw = io.BytesIO()
    files = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n".encode(), **(more or {})}
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)  # the same in every second


def plain_archive(files: Mapping[str, bytes]) -> bytes:
    """As Flux packs a folder: names below `./`."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(f"./{path}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)  # the same in every second


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(slots=True)
class ChartServer:
    archives: dict[str, bytes] = field(default_factory=dict)
    """By `<name>-<version>.tgz`, and their digests by the same name, where the index is to say another."""
    digests: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    password: str = ""
    token: str = ""
    """What OCI calls must bear; the token service gives it."""
    realm: str = ""
    """Where the token service is, if not here."""
    redirect: str = ""
    link: str = ""
    """Where a list of tags goes on."""
    files: dict[str, bytes] = field(default_factory=dict)
    """By path: provenances, and what else a registry has."""
    encoded: set[str] = field(default_factory=set)
    """Paths of files that are said to be encoded with gzip."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(path, Authorization) of every call."""
    server: TestServer | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self.server = TestServer(app)
        await self.server.start_server()

    async def stop(self) -> None:
        assert self.server is not None
        await self.server.close()

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def oci(self) -> str:
        return self.url.replace("http://", "oci://")

    def add(self, name: str, version: str, more: Mapping[str, bytes] | None = None) -> str:
        data = chart_archive(name, version, more)
        self.archives[f"{name}-{version}.tgz"] = data
        return hashlib.sha256(data).hexdigest()

    def push(self, repository: str, tag: str, layers: list[tuple[str, bytes, dict[str, str]]]) -> str:
        """A manifest of layers (media type, content, annotations) under a tag; its digest."""
        entries = [
            {"mediaType": kind, "digest": digest_of(data), "size": len(data), "annotations": notes}
            for kind, data, notes in layers
        ]
        body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": entries}).encode()
        base = f"/v2/{repository}"
        for reference in (tag, digest_of(body)):
            self.files[f"{base}/manifests/{reference}"] = body
        for _, data, _ in layers:
            self.files[f"{base}/blobs/{digest_of(data)}"] = data
        tags = [path.rpartition("/")[2] for path in self.files if path.startswith(f"{base}/manifests/")]
        listed = {"tags": [one for one in tags if not one.startswith("sha256")]}
        self.files[f"{base}/tags/list"] = json.dumps(listed).encode()
        return digest_of(body)

    async def _answer(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - a table of routes
        given = request.headers.get("Authorization", "")
        self.seen.append((request.path, given))
        if request.path in self.files:
            headers = {"Content-Encoding": "gzip"} if request.path in self.encoded else {}
            return web.Response(body=self.files[request.path], headers=headers)
        if request.path.startswith("/v2/") or request.path == "/token":
            return self._registry(request, given)
        if self.password and not given.startswith("Basic "):
            return web.Response(status=401)
        if request.path.endswith("/index.yaml"):
            return self._index(request)
        name = request.path.rpartition("/")[2]
        if self.redirect:
            return web.Response(status=302, headers={"Location": f"{self.redirect}/{name}"})
        if name not in self.archives:
            return web.Response(status=404)
        return web.Response(body=self.archives[name])

    def _index(self, request: web.Request) -> web.Response:
        entries: dict[str, list[dict[str, object]]] = {}
        for file, data in self.archives.items():
            name, _, version = file.removesuffix(".tgz").partition("-")
            digest = self.digests.get(file, hashlib.sha256(data).hexdigest())
            url = self.urls.get(file, f"charts/{file}")
            entries.setdefault(name, []).append(
                {"apiVersion": "v2", "name": name, "version": version, "urls": [url], "digest": digest}
            )
        body = json.dumps({"apiVersion": "v1", "entries": entries})
        etag = f'"{hashlib.sha256(body.encode()).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        return web.Response(text=body, headers={"ETag": etag})

    def _registry(self, request: web.Request, given: str) -> web.Response:  # noqa: PLR0911 - a table of routes
        if request.path == "/token":
            if self.password and not given.startswith("Basic "):
                return web.Response(status=401)
            return web.json_response({"token": self.token})
        if self.token and given != f"Bearer {self.token}":
            challenge = f'Bearer realm="{self.realm or f"{self.url}/token"}",service="here"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        path = request.path.removeprefix("/v2/")
        name = path.split("/")[1]
        files = {file: data for file, data in self.archives.items() if file.startswith(f"{name}-")}
        if path.endswith("/tags/list"):
            tags = [file.removeprefix(f"{name}-").removesuffix(".tgz").replace("+", "_") for file in files]
            headers = {"Link": self.link} if self.link else {}
            return web.json_response({"name": name, "tags": sorted(tags)}, headers=headers)
        last = path.rpartition("/")[2]
        if "/manifests/" in path:
            data = files.get(f"{name}-{last.replace('_', '+')}.tgz")
            if data is None:
                return web.Response(status=404)
            digest = self.digests.get(last, hashlib.sha256(data).hexdigest())
            layer = {"mediaType": CHART_LAYER, "digest": f"sha256:{digest}", "size": len(data)}
            manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer]}
            return web.json_response(manifest, content_type=MANIFEST)
        wanted = last.removeprefix("sha256:")
        for data in files.values():
            if hashlib.sha256(data).hexdigest() == wanted or wanted in self.digests.values():
                return web.Response(body=data)
        return web.Response(status=404)


@pytest.fixture
async def chart_server() -> AsyncIterator[ChartServer]:
    running = ChartServer()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def charts(tmp_path: Path) -> AsyncIterator[ChartRepositories]:
    """A source of charts that has credentials for nothing."""
    made = ChartRepositories(tmp_path / "charts", credentials=lambda _: None)
    yield made
    await made.close()
