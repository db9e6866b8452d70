"""The `distribution` registry as a process of its own: open, with passwords, or with tokens as big ones have it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from hub.fleet.process import end, spawn
from hub.fleet.tools import REGISTRY_SOURCE, ensure_tools
from hub.sources.credentials import Credentials
from hub.sources.registry import INDEX, MANIFEST
from tests.integration.hub_rig import free_port
from tests.unit.hub.sources.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hub.fleet.process import Process

USER, PASSWORD = "robot", "let-me-in"
_HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuudxA/1BY5FxPYA69jUrJOJFmTyoe9T1a\n"
"""That password, hashed."""
_EMPTY = b"{}"
_CREATED, _DEADLINE = 201, 90.0

Layer = tuple[str, bytes, dict[str, str]]


@dataclass(slots=True)
class RealRegistry:
    """`auth` is none, `htpasswd` or `token`."""

    folder: Path
    auth: str = ""
    port: int = field(default_factory=free_port)
    tokens: TokenService | None = None
    _process: Process | None = None
    _session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        program = await ensure_tools(source=REGISTRY_SOURCE) / "registry"
        self.folder.mkdir(parents=True, exist_ok=True)
        auth = await self._auth()
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "test"},
            **({"auth": auth} if auth else {}),
        }
        (self.folder / "config.yml").write_text(json.dumps(settings))
        self._session = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}")
        command = [str(program), "serve", str(self.folder / "config.yml")]
        quiet = {"OTEL_TRACES_EXPORTER": "none"}
        self._process = spawn("registry", command, folder=self.folder, env=quiet)
        async with asyncio.timeout(_DEADLINE):
            while not await self._answers():  # noqa: ASYNC110 - it tells nobody when it is there
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._process is not None:
            await end(self._process, grace=5.0)
        if self._session is not None:
            await self._session.close()
        if self.tokens is not None:
            await self.tokens.stop()

    @property
    def oci(self) -> str:
        return f"oci://127.0.0.1:{self.port}"

    async def push(self, repository: str, tag: str, layers: Sequence[Layer]) -> str:
        """A manifest of layers (media type, content, annotations) under a tag; its digest."""
        config = {"mediaType": "application/vnd.oci.empty.v1+json", **await self._blob(repository, _EMPTY)}
        entries = [
            {
                "mediaType": kind,
                **await self._blob(repository, data),
                **({"annotations": notes} if notes else {}),
            }
            for kind, data, notes in layers
        ]
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": entries}
        return await self.manifest(repository, tag, content)

    async def refer(self, repository: str, digest: str, kind: str, data: bytes) -> None:
        """Put something beside a manifest, under the tag that stands for its referrers: this registry has no API.

        As cosign 2.6 does there: the index says no more of it than that its configuration is empty.
        """
        made = await self.push(repository, f"{digest[7:19]}-more", [(kind, data, {})])
        unsaid = "application/vnd.oci.empty.v1+json"
        entry = {"mediaType": MANIFEST, "digest": made, "size": 1, "artifactType": unsaid}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        await self.manifest(repository, digest.replace(":", "-"), index)

    async def manifest(self, repository: str, tag: str, content: dict[str, object]) -> str:
        body = json.dumps(content).encode()
        headers = {"Content-Type": str(content["mediaType"]), **self._allowed(repository)}
        path = f"/v2/{repository}/manifests/{tag}"
        async with self.session.put(path, data=body, headers=headers) as answer:
            assert answer.status == _CREATED, await answer.text()
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    async def _blob(self, repository: str, data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        headers = self._allowed(repository)
        async with self.session.post(f"/v2/{repository}/blobs/uploads/", headers=headers) as answer:
            place = urlsplit(answer.headers["Location"])
        more = f"{place.query}&digest={digest}" if place.query else f"digest={digest}"
        async with self.session.put(f"{place.path}?{more}", data=data, headers=headers) as answer:
            assert answer.status == _CREATED, await answer.text()
        return {"digest": digest, "size": len(data)}

    def _allowed(self, repository: str) -> dict[str, str]:
        if self.auth == "htpasswd":
            return {"Authorization": Credentials(USER, PASSWORD).header()}
        if self.tokens is not None:
            return {"Authorization": f"Bearer {self.tokens.token(repository, ['pull', 'push'])}"}
        return {}

    async def _auth(self) -> dict[str, object]:
        if self.auth == "htpasswd":
            (self.folder / "htpasswd").write_text(_HTPASSWD)
            return {"htpasswd": {"realm": "here", "path": str(self.folder / "htpasswd")}}
        if self.auth == "token":
            self.tokens = TokenService()
            await self.tokens.start()
            (self.folder / "ca.pem").write_bytes(self.tokens.authority.certificate.public_bytes(Encoding.PEM))
            return {
                "token": {
                    "realm": f"{self.tokens.url}/token",
                    "service": "here",
                    "issuer": "us",
                    "rootcertbundle": str(self.folder / "ca.pem"),
                }
            }
        return {}

    async def _answers(self) -> bool:
        try:
            async with self.session.get("/v2/") as answer:
                return answer.status in (200, 401)
        except aiohttp.ClientError:
            return False


class TokenService:
    """Gives tokens to who knows the password: https://distribution.github.io/distribution/spec/auth/jwt/."""

    def __init__(self) -> None:
        self.authority = Authority.made("tokens")
        self.asked: list[tuple[str, bool]] = []
        """(scope, whether it was granted)."""
        app = web.Application()
        app.router.add_get("/token", self._answer)
        self._server = TestServer(app)

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def token(self, repository: str, actions: list[str]) -> str:
        now = int(time.time())
        access = [{"type": "repository", "name": repository, "actions": actions}]
        said = {"iss": "us", "sub": USER, "aud": "here", "iat": now, "nbf": now - 60, "exp": now + 300}
        chain = [base64.b64encode(self.authority.certificate.public_bytes(Encoding.DER)).decode()]
        head = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        signed = f"{_part(head)}.{_part({**said, 'jti': str(now), 'access': access})}"
        r, s = decode_dss_signature(self.authority.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_plain(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    async def _answer(self, request: web.Request) -> web.Response:
        asked = parse_qs(request.query_string)
        scope = asked.get("scope", [""])[0]
        granted = request.headers.get("Authorization") == Credentials(USER, PASSWORD).header()
        self.asked.append((scope, granted))
        if not granted:
            return web.Response(status=401)
        _, repository, actions = scope.split(":")
        return web.json_response({"token": self.token(repository, actions.split(","))})


def _part(value: dict[str, object]) -> str:
    return _plain(json.dumps(value).encode())


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
