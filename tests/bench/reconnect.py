"""5,000 agents and a hub that is killed and started again: when everybody is served, and what the hub holds then.

The hub is the whole process (gateway and controller) on a real API server. Agents are light clients with certificates
of their own, in one process beside it, on loopback; they have nothing to report but that they are there.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.contract.names import API_VERSION, FINALIZER, HUB_NAMESPACE
from agent.contract.sealing import new_keypair
from hub.fleet import install
from hub.fleet.controlplane import ControlPlane
from hub.gateway import paths
from hub.gateway.certificates import certificate_fingerprint
from hub.gateway.identity import HubIdentity
from tests.bench import rows
from tests.bench.marks import BenchFailed
from tests.bench.measure import Meter, memory
from tests.bench.rows import Sample
from tests.integration.gateway_rig import client_of
from tests.integration.hub_rig import free_port

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.kube.client import RestClient
    from tests.bench.options import Options

ROWS = (rows.RECONNECT, rows.RECONNECT_MEMORY)
COUNT = int(os.environ.get("AXLETREE_BENCH_AGENTS", "5000"))
_WRITERS = 48
_PATIENCE = 300.0
"""Seconds until agents count as lost. Much, for machines that others use as well; the figure tells the rest."""
_REST = 21.0
"""Longer than a heartbeat: what the hub holds then is what it holds."""
_LOOK = 3.0
_FEW = 0.002
"""Of all Clusters: so many may still move in a fleet that has settled."""
_MB = 1024 * 1024


async def run(options: Options) -> dict[str, list[Sample]]:
    root = options.root / "reconnect"
    root.mkdir(parents=True)
    plane = ControlPlane("reconnect", root / "plane", options.binary, workloads=False)
    await plane.start()
    try:
        options.note(f"{COUNT} clusters, each with a certificate and an Assignment")
        port = free_port()
        async with client_of(plane) as client:
            told = await _prepared(client)
        file = root / "swarm.json"
        file.write_text(json.dumps(told | {"host": "127.0.0.1", "port": port}))
        async with _process("hub.main", *_hub_options(plane, root, port)) as first, _swarm(file) as swarm:
            options.note("the first time they all come")
            await swarm.all_served()
            async with client_of(plane) as client:
                await _settled(client)
            await asyncio.sleep(_REST)
            before = memory([first.pid]).rss / _MB
            options.note(f"the hub holds {before:.0f} MB; it is killed and started again")
            first.send_signal(signal.SIGKILL)
            await first.wait()
            await swarm.mark()
            began = time.monotonic()
            async with _process("hub.main", *_hub_options(plane, root, port)) as second:
                meter = Meter({"hub": [second.pid], "agents": [swarm.pid]})
                await _listening(port)
                listening = time.monotonic()
                last = await swarm.all_served()
                cpu, window = meter.read()
                await asyncio.sleep(_REST)
                after = memory([second.pid]).rss / _MB
                failures, why = swarm.failures, swarm.why
    finally:
        await plane.stop()
    took = last - listening
    note = (
        f"{COUNT} agents, 2 connections each; the hub listened {listening - began:.1f} s after its start; "
        f"{failures} tries in vain ({why}); none lost"
    )
    served = Sample(took, cpu=cpu, window=window, load=os.getloadavg()[0], note=note)
    grown = Sample(100 * (after - before) / before, note=f"{before:.0f} MB before, {after:.0f} MB after")
    return {rows.RECONNECT.id: [served], rows.RECONNECT_MEMORY.id: [grown]}


class _Swarm:
    """The clients' process, as it says how it is."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._state: dict[str, Any] = {}
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def failures(self) -> int:
        return int(self._state.get("failures", 0))

    @property
    def why(self) -> str:
        """What failed most, and how often."""
        return ", ".join(f"{count} x {reason}" for reason, count in self._state.get("why", {}).items())

    async def mark(self) -> None:
        """Count anew who is served."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()
        self._state = {}

    async def all_served(self) -> float:
        """When the last one was, by the machine's clock."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._state.get("served", 0) < COUNT:
                    if self._reading.done():
                        raise BenchFailed("the agents' process ended")
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            lost = COUNT - self._state.get("served", 0)
            raise BenchFailed(
                f"{lost} of {COUNT} agents are lost after {_PATIENCE:.0f} s: {self.why}"
            ) from error
        return float(self._state["last"])

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._state = json.loads(line)


@asynccontextmanager
async def _swarm(file: Path) -> AsyncIterator[_Swarm]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.swarm", str(file)), stdin=pipe, stdout=pipe
    )
    swarm = _Swarm(process)
    try:
        yield swarm
    finally:
        await swarm.end()


@asynccontextmanager
async def _process(module: str, *arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _hub_options(plane: ControlPlane, root: Path, port: int) -> tuple[str, ...]:
    return (
        *("--kubeconfig", str(plane.kubeconfig_path), "--data-dir", str(root / "hub")),
        *("--port", str(port), "--log-level", "error", "--lease-seconds", "5"),
    )


async def _listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def _settled(client: RestClient) -> None:
    """Until the hub has written all that it has to say of Clusters: else the next one would first do that.

    Each says that its agent is connected and holds our finalizer, and none but a few moved between two looks.
    """
    before: dict[str, str] = {}
    async with asyncio.timeout(_PATIENCE):
        while True:
            found = (await client.list(paths.CLUSTERS)).items
            done = all(
                (each.get("status") or {}).get("connected") == "Connected"
                and FINALIZER in (each["metadata"].get("finalizers") or ())
                for each in found
            )
            now = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in found}
            moved = sum(before.get(name) != version for name, version in now.items())
            if done and moved <= COUNT * _FEW:
                return
            before = now
            await asyncio.sleep(_LOOK)


async def _prepared(client: RestClient) -> dict[str, Any]:
    """The clusters as they are on a hub that they joined."""
    now = datetime.now(UTC)
    await install.install_hub(client)
    identity = await HubIdentity.load_or_create(client, now=now)
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    sealing = base64.b64encode(new_keypair()[1]).decode()
    certificates = {}
    for number in range(COUNT):
        certificates[f"c{number:05}"] = identity.issue_client(csr, f"c{number:05}", now)
        if number % 50 == 0:
            await asyncio.sleep(0)
    slots = asyncio.Semaphore(_WRITERS)

    async def one(name: str, certificate: str) -> None:
        async with slots:
            cluster = {"apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": name}}
            await client.create(paths.CLUSTERS, cluster | {"spec": {"accepted": True}})
            status = {"fingerprint": certificate_fingerprint(certificate), "sealingKey": sealing}
            await client.merge_patch(paths.cluster(name), {"status": status}, subresource="status")
            spec = {"epoch": 1, "seq": 1, "apps": [], "tombstones": []}
            metadata = {"name": name, "namespace": HUB_NAMESPACE}
            assignment = {"apiVersion": API_VERSION, "kind": "Assignment", "metadata": metadata, "spec": spec}
            await client.create(paths.ASSIGNMENTS, assignment)

    async with asyncio.TaskGroup() as tasks:
        for name, certificate in certificates.items():
            tasks.create_task(one(name, certificate))
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"ca": identity.ca_pem, "key": plain.decode(), "certificates": certificates}
