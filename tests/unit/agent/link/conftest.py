"""A hub at the socket: real TLS with its own CA, scripted answers; and Secrets behind a small API server."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.contract.signing import sign
from agent.contract.token import JoinToken
from agent.contract.wire import SIGNATURE_HEADER, AssignmentDocument
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

HUB_ID = "hub-1"
CLUSTER = "eu-1"


class Pki:
    """One CA, its server certificate for localhost, and client certificates from CSRs."""

    def __init__(self, directory: Path) -> None:
        self.now = dt.datetime.now(dt.UTC)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub CA")])
        ca = (
            self._builder(self.name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.ca = ca.public_bytes(serialization.Encoding.PEM).decode()
        self.fingerprint = hashlib.sha256(ca.public_bytes(serialization.Encoding.DER)).hexdigest()
        server_key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        server = (
            self._builder(subject, server_key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        file = directory / "server.pem"
        file.write_bytes(
            server.public_bytes(serialization.Encoding.PEM)
            + server_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(file)
        self.context.load_verify_locations(cadata=self.ca)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.signing = Ed25519PrivateKey.generate()

    def issue(self, csr: str, cluster: str) -> str:
        request = x509.load_pem_x509_csr(csr.encode())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cluster)])
        uri = x509.UniformResourceIdentifier(f"axletree://cluster/{cluster}")
        issued = (
            self._builder(subject, request.public_key())  # type: ignore[arg-type]
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return issued.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def signing_keys(self) -> dict[str, str]:
        return {"k1": base64.b64encode(self.signing.public_key().public_bytes_raw()).decode()}

    def token(self, **change: str) -> JoinToken:
        plain = {"id": "t1", "secret": "s" * 32, "hub": HUB_ID, "ca": self.fingerprint}
        return JoinToken(**{**plain, **change})

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - dt.timedelta(minutes=5))
            .not_valid_after(self.now + dt.timedelta(days=1))
        )


@dataclass
class Hub:
    """Answers by route; a test replaces the ones that it is about. `seen` lists (method, path, headers, body)."""

    pki: Pki
    url: str = ""
    routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def assigned(self, document: AssignmentDocument, **headers: str) -> web.Response:
        raw = json.dumps(document.wire()).encode()
        signature = sign(raw, key_id="k1", key=self.pki.signing)
        return web.Response(body=raw, headers={SIGNATURE_HEADER: signature, **headers})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path, dict(request.headers), await request.read()))
        handler = self.routes.get(request.path)
        return await handler(request) if handler else web.Response(status=404)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def hub(pki: Pki) -> AsyncIterator[Hub]:
    hub = Hub(pki)

    async def ca(_: web.Request) -> web.Response:
        return web.Response(text=pki.ca)

    async def join(request: web.Request) -> web.Response:
        body = await request.json()
        answer = {
            "certificate": pki.issue(body["csr"], body["cluster"]),
            "ca": pki.ca,
            "hubId": HUB_ID,
            "signingKeys": pki.signing_keys,
        }
        return web.json_response(answer, status=201)

    hub.routes = {"/agent/v1/ca": ca, "/agent/v1/join": join}
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=pki.context)
    await site.start()
    hub.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield hub
    await runner.cleanup()


class SecretServer:
    """Secrets of one namespace, as an API server keeps them."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.full = False

    async def handle(self, request: web.Request) -> web.Response:  # noqa: PLR0911 - a verb each
        name = request.path.partition("/secrets")[2].lstrip("/")
        if request.method in {"POST", "PUT"}:
            body = await request.json()
            if self.full:
                return self._status(403, "Forbidden")
            exists = body["metadata"]["name"] in self.secrets
            if exists == (request.method == "POST"):
                return self._status(409 if exists else 404, "AlreadyExists" if exists else "NotFound")
            self.secrets[body["metadata"]["name"]] = body
            self.writes.append(f"{request.method} {body['metadata']['name']}")
            return web.json_response(body)
        if request.method == "DELETE":
            if self.secrets.pop(name, None) is None:
                return self._status(404, "NotFound")
            self.writes.append(f"DELETE {name}")
            return web.json_response({"kind": "Status"})
        if name:
            found = self.secrets.get(name)
            return web.json_response(found) if found else self._status(404, "NotFound")
        wanted = dict(pair.split("=") for pair in request.query["labelSelector"].split(","))
        items = [
            each for each in self.secrets.values() if wanted.items() <= each["metadata"]["labels"].items()
        ]
        return web.json_response(
            {"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
        )

    def _status(self, code: int, reason: str) -> web.Response:
        return web.json_response({"kind": "Status", "reason": reason, "code": code}, status=code)


@pytest.fixture
async def secret_server() -> AsyncIterator[SecretServer]:
    server = SecretServer()
    app = web.Application()
    app.router.add_route("*", "/api/v1/namespaces/axletree-agent/secrets{tail:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]  # type: ignore[attr-defined]
    yield server
    await runner.cleanup()


@pytest.fixture
async def kube(secret_server: SecretServer) -> AsyncIterator[RestClient]:
    port = secret_server.port  # type: ignore[attr-defined]
    async with RestClient(KubeConfig(server=f"http://127.0.0.1:{port}"), user_agent="test") as client:
        yield client


@pytest.fixture
def document() -> Callable[..., AssignmentDocument]:
    def make(seq: int = 1, *, epoch: int = 1, **change: Any) -> AssignmentDocument:
        plain: dict[str, Any] = {"hub_id": HUB_ID, "cluster": CLUSTER, "epoch": epoch, "seq": seq, **change}
        return AssignmentDocument(**plain)

    return make
