"""A gateway on a real API server, and an agent's side of its protocol with real keys and real TLS."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION, HUB_NAMESPACE
from agent.contract.sealing import new_keypair
from agent.contract.wire import AppReport
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from hub.api.schema import crds
from hub.gateway import paths, tokens
from hub.gateway.identity import HubIdentity
from hub.gateway.server import Gateway, GatewayContext
from hub.store.port import StoreAway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DIGEST = "d" * 64
BLOB = "b" * 64
SECONDS = 60.0
"""How long something may take that comes: on a busy machine, long."""
_OK = 200


def client_of(server: ControlPlane) -> RestClient:
    return RestClient(load_kubeconfig(server.kubeconfig_path), user_agent="axletree-tests")


def now() -> datetime:
    return datetime.now(UTC)


def new_name() -> str:
    """A cluster name that no other test uses."""
    return f"c-{uuid4().hex[:10]}"


async def install(client: RestClient) -> None:
    """CRDs and the hub's namespace."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HUB_NAMESPACE}}
    await client.apply(f"/api/v1/namespaces/{HUB_NAMESPACE}", namespace, field_manager="tests")
    names = []
    for manifest in crds():
        names.append(manifest["metadata"]["name"])
        await client.apply(f"{CRDS}/{names[-1]}", manifest, field_manager="tests")
    async with asyncio.timeout(SECONDS):
        for name in names:
            while not _established(await client.get(f"{CRDS}/{name}")):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)


def _established(crd: dict[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@dataclass
class Blobs:
    held: dict[str, bytes] = field(default_factory=dict)
    away: bool = False

    async def fetch(self, blob: str) -> bytes | None:
        if self.away:
            raise StoreAway("the store does not answer")
        return self.held.get(blob)


@dataclass
class Rig:
    client: RestClient
    identity: HubIdentity
    gateway: Gateway
    blobs: Blobs
    applications: set[str] = field(default_factory=set)

    async def token(self, cluster: str, *, ttl: float = 600, **options: Any) -> str:
        return await tokens.create_token(
            self.client, self.identity, cluster=cluster, ttl=timedelta(seconds=ttl), now=now(), **options
        )

    async def joined(self, cluster: str) -> Spoke:
        spoke = Spoke(cluster, self.gateway.url, self.identity.ca_pem)
        status, body, _ = await spoke.join(await self.token(cluster, auto_accept=True))
        assert status == 201, body
        spoke.use(body["certificate"])
        async with asyncio.timeout(SECONDS):  # a join waits a little for the gateway's cache, and no longer
            while (await spoke.assignment())[0] == 403:  # noqa: ASYNC110 - a cache
                await asyncio.sleep(0.02)
        return spoke

    async def assign(
        self,
        cluster: str,
        *,
        seq: int,
        apps: dict[str, str],
        epoch: int = 1,
        gone: tuple[str, ...] = (),
        resend: int = 0,
    ) -> None:
        """`apps` maps keys to blobs."""
        assignment = {
            "apiVersion": API_VERSION,
            "kind": "Assignment",
            "metadata": {"name": cluster, "namespace": HUB_NAMESPACE},
            "spec": {
                "epoch": epoch,
                "seq": seq,
                "resend": resend,
                "apps": [
                    {"app": app, "digest": DIGEST, "blob": blob, "release": 1} for app, blob in apps.items()
                ],
                "tombstones": [
                    {"app": app, "reason": "Dropped", "decidedAt": "2026-01-01T00:00:00Z"} for app in gone
                ],
            },
        }
        await self.client.apply(
            f"{paths.ASSIGNMENTS}/{cluster}", assignment, field_manager="tests", force=True
        )

    async def application(self, key: str, cluster: str) -> None:
        namespace, _, name = key.partition("/")
        spec = {"cluster": cluster, "sources": [{"repoURL": "https://git.example.com/shop"}]}
        obj = {
            "apiVersion": API_VERSION,
            "kind": "Application",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        try:
            found = await self.client.get(paths.application(key))
        except ApiError as error:
            if error.status != 404:
                raise
        else:  # of a test before, on a cluster of its own: where an app is cannot be changed
            if found["spec"].get("cluster") != cluster:
                await self.client.delete(paths.application(key))
        await self.client.apply(paths.application(key), obj, field_manager="tests")
        self.applications.add(key)

    async def forget(self) -> None:
        """Leave no Application behind: a server that others share would show it to them."""
        for key in self.applications:
            with suppress(ApiError):
                await self.client.delete(paths.application(key))

    async def observed(self, key: str) -> dict[str, Any] | None:
        found = await self.client.get(paths.application(key))
        observed: dict[str, Any] | None = (found.get("status") or {}).get("observed")
        return observed

    async def observed_when(self, key: str, **wanted: Any) -> dict[str, Any]:
        """Wait until what is observed says so."""
        observed: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    observed = await self.observed(key)
                    if observed is not None and observed.items() >= wanted.items():
                        return observed
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise AssertionError(f"{key}: not {wanted} but {observed}") from error

    async def lease_when(self, cluster: str, *, beats: Spoke | None = None, **wanted: str) -> dict[str, Any]:
        """Wait until the agent's Lease has these annotations (without their prefix, `_` for `-`).

        `beats` is heard meanwhile, as an agent is: what a Stale period takes away comes again.
        """
        expected = {f"axletree.dev/{name.replace('_', '-')}": value for name, value in wanted.items()}
        lease: dict[str, Any] = {}
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    if beats is not None:
                        await beats.report()
                    lease = await self._lease(cluster)
                    if lease and lease["metadata"]["annotations"].items() >= expected.items():
                        return lease
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise AssertionError(f"{cluster}: not {expected} but {lease}") from error

    async def _lease(self, cluster: str) -> dict[str, Any]:
        try:
            return await self.client.get(paths.lease(f"agent-{cluster}"))
        except ApiError as error:
            if error.status != 404:
                raise
            return {}


class Spoke:
    """One agent's key, certificate and calls."""

    def __init__(self, cluster: str, url: str, ca: str) -> None:
        self.cluster = cluster
        self.url = url
        self.ca = ca
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.sealing_key = base64.b64encode(new_keypair()[1]).decode()
        self.certificate = ""
        self.boot = "boot-1"
        self.count = 0
        self.gateway, self.answered = "", 0

    def use(self, certificate: str) -> None:
        self.certificate = certificate

    def csr(self) -> str:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.ca)
        if self.certificate:
            pem = self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode()
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "identity.pem")
                path.write_text(f"{self.certificate}\n{pem}")
                context.load_cert_chain(path)
        return context

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=self.tls())
        async with aiohttp.ClientSession(self.url, connector=connector, auto_decompress=False) as session:
            yield session

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
        data: Any = None,
    ) -> tuple[int, bytes, Any]:
        async with (
            self.session() as session,
            session.request(method, path, json=json, data=data, headers=headers) as response,
        ):
            return response.status, await response.read(), response.headers

    async def join(self, token: str, **more: Any) -> tuple[int, dict[str, Any], Any]:
        body = {
            "token": token,
            "cluster": self.cluster,
            "csr": self.csr(),
            "sealingKey": self.sealing_key,
            "agentVersion": "1.0",
            "kubernetesVersion": "v1.36.3",
            "clusterUid": "uid-1",
        }
        status, raw, headers = await self.call("POST", "/agent/v1/join", json=body | more)
        return status, decode(raw), headers

    async def assignment(self, etag: str = "", wait: int = 0) -> tuple[int, bytes, Any]:
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        if etag:
            headers["If-None-Match"] = etag
        return await self.call("GET", "/agent/v1/assignment", headers=headers)

    async def report(self, *reports: AppReport, **more: Any) -> tuple[int, dict[str, Any]]:
        self.count += 1
        batch = {
            "boot": self.boot,
            "count": self.count,
            "epoch": 1,
            "seq": 1,
            "gateway": self.gateway,
            "answered": self.answered,
            "reports": [report.wire() for report in reports],
        }
        status, raw, _ = await self.call("POST", "/agent/v1/reports", json=batch | more)
        answer = decode(raw)
        if status == _OK:
            self.gateway, self.answered = answer["gateway"], self.count
        return status, answer


async def until_heard(spoke: Spoke) -> None:
    """Its gateway may not have seen the Cluster yet."""
    async with asyncio.timeout(SECONDS):
        while (await spoke.report())[0] != _OK:  # noqa: ASYNC110 - another cache
            await asyncio.sleep(0.02)


async def until_refused(spoke: Spoke) -> None:
    """What was written past the gateway comes to its cache."""
    async with asyncio.timeout(SECONDS):
        while (await spoke.report())[0] != 403:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


def decode(raw: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(raw) if raw else {}
    return decoded


def app_report(app: str, **more: Any) -> AppReport:
    base = {
        "app": app,
        "release": 1,
        "sync": "Synced",
        "health": "Healthy",
        "observedAt": now(),
        "digest": DIGEST,
    }
    return AppReport.model_validate(base | more)


_installations: set[tuple[str, Path]] = set()


async def _installed(server: ControlPlane, client: RestClient) -> None:
    """Once a server: generating the CRDs costs more than most tests. A later one may have a former one's port."""
    known = (server.url, server.kubeconfig_path)
    if known not in _installations:
        await install(client)
        _installations.add(known)


@asynccontextmanager
async def _drained() -> AsyncIterator[None]:
    """Leave when every connection is closed: a TLS shutdown outlives the call that asks for it."""
    loop = asyncio.get_running_loop()
    selector = loop._selector  # type: ignore[attr-defined]
    before = len(selector.get_map())
    yield
    async with asyncio.timeout(SECONDS):
        while len(selector.get_map()) > before:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(server: ControlPlane, **options: Any) -> AsyncIterator[Rig]:
    """A gateway that is ready. `inner`: within another one, which waits for the connections of both.

    `kept`: the Applications that are made stay, for the gateway that comes after it.
    """
    kept = options.pop("kept", False)
    waiting = nullcontext() if options.pop("inner", False) else _drained()
    async with waiting, client_of(server) as client:
        await _installed(server, client)
        identity = await HubIdentity.load_or_create(client, now=now())
        blobs = Blobs()
        host = options.pop("host", "127.0.0.1")
        context = GatewayContext(
            client=client,
            identity=identity,
            blobs=blobs,
            now=options.pop("now", now),
            clock=options.pop("clock", asyncio.get_running_loop().time),
            **options,
        )
        gateway = Gateway(context)
        await gateway.start(host)
        try:
            await gateway.wait_ready(SECONDS)
            made = Rig(client, identity, gateway, blobs)
            try:
                yield made
            finally:
                if not kept:
                    await made.forget()
        finally:
            await gateway.stop()
