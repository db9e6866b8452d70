"""What a kubelet would do of a hub's cluster: run the Pods' programs as processes here, with their accounts' tokens.

Arguments, configuration and rights are those that were applied; only where things are on a node differs: ports,
folders, the address of the API server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError, TransientError
from agent.contract.names import AGENT_NAMESPACE, HUB_NAMESPACE
from agent.kube.document import read_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.fleet.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
HUB, AGENT = "axletree-hub", "axletree-agent"
_NAMESPACES = {HUB: HUB_NAMESPACE, AGENT: AGENT_NAMESPACE}


async def kubeconfig_as(
    server: ControlPlane, client: RestClient, account: tuple[str, str], path: Path
) -> Path:
    """A kubeconfig with the token of that (namespace, ServiceAccount), and nothing else to be known by."""
    namespace, name = account
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request)
    admin: dict[str, Any] = read_document(server.kubeconfig_path.read_bytes(), source="kubeconfig")
    user = {"name": name, "user": {"token": answer["status"]["token"]}}
    context = {"name": name, "context": {"cluster": admin["clusters"][0]["name"], "user": name}}
    document = admin | {"users": [user], "contexts": [context], "current-context": name}
    path.write_text(json.dumps(document))  # noqa: ASYNC240 - a test's own file
    return path


class Kubelet:
    """Follows the two Deployments of a hub; a Pod template that changed is a process that is started anew."""

    def __init__(self, server: ControlPlane, client: RestClient, folder: Path, *, port: int) -> None:
        self.server = server
        self.client = client
        self.folder = folder
        self.port = port
        self.running: dict[str, tuple[str, asyncio.subprocess.Process]] = {}
        self.arguments: dict[str, list[str]] = {}
        folder.mkdir()

    async def run(self) -> None:
        while True:
            for name in (HUB, AGENT):
                with contextlib.suppress(ApiError, TransientError):
                    await self._sync(name)
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """As when the node loses its power."""
        for _, process in self.running.values():
            if process.returncode is None:
                process.kill()
            await process.wait()
        self.running.clear()

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-5000:]}" for path in sorted(self.folder.glob("*.log"))
        )

    async def _sync(self, name: str) -> None:
        path = f"/apis/apps/v1/namespaces/{_NAMESPACES[name]}/deployments/{name}"
        pod = (await self.client.get(path))["spec"]["template"]
        spec = json.dumps(pod, sort_keys=True)
        before, process = self.running.get(name, ("", None))
        if process is not None and process.returncode is None:
            if spec == before:
                return
            process.terminate()
            await process.wait()
        arguments = await (self._hub(pod) if name == HUB else self._agent(pod))
        self.arguments[name] = pod["spec"]["containers"][0]["args"]
        with (self.folder / f"{name}.log").open("ab") as out:
            started = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *arguments),
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.running[name] = spec, started

    async def _hub(self, pod: Manifest) -> list[str]:
        container = pod["spec"]["containers"][0]
        assert container["command"] == ["axle-hub"]
        told = {"$(POD_IP)": "127.0.0.1", "$(POD_NAME)": "hub-0", "/var/lib/axletree": str(self.folder)}
        given = []
        for text in container["args"]:
            for name, value in told.items():
                text = text.replace(name, value)  # noqa: PLW2901 - as the kubelet expands it
            given.append(text)
        given = [text for text in given if not text.startswith(("--port=", "--host=", "--api-port="))]
        account = await self._as(HUB_NAMESPACE, pod)
        return ["hub.main", *given, f"--port={self.port}", "--kubeconfig", str(account)]

    async def _agent(self, pod: Manifest) -> list[str]:
        container = pod["spec"]["containers"][0]
        assert container["command"] == ["axle-agent"]
        core = f"/api/v1/namespaces/{AGENT_NAMESPACE}"
        config = json.loads((await self.client.get(f"{core}/configmaps/{AGENT}"))["data"]["agent.json"])
        join = await self.client.get(f"{core}/secrets/axletree-agent-join")
        for key, name in (("tokenFile", "token"), ("caFile", "ca.crt")):
            path = self.folder / name
            path.write_bytes(base64.b64decode(join["data"][name]))
            config[key] = str(path)
        config |= {"kubeconfig": str(await self._as(AGENT_NAMESPACE, pod)), "heartbeatSeconds": 1}
        file = self.folder / "agent.json"
        file.write_text(json.dumps(config))
        return ["agent.main", "run", "--config", str(file)]

    async def _as(self, namespace: str, pod: Manifest) -> Path:
        name = pod["spec"]["serviceAccountName"]
        return await kubeconfig_as(
            self.server, self.client, (namespace, name), self.folder / f"{name}.kubeconfig"
        )


@contextlib.asynccontextmanager
async def kubelet(
    server: ControlPlane, client: RestClient, folder: Path, *, port: int
) -> AsyncIterator[Kubelet]:
    made = Kubelet(server, client, folder, port=port)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
        await made.stop()
        if isinstance(ended, Exception):
            raise ended
