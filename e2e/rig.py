"""One local fleet as the tests drive it: Git, crashes, edits, and what must hold when it is green."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import AGENT_NAMESPACE, ANNOTATION_REFRESH, APPLYSET_PART_OF, LABEL_SET, LABEL_STATE
from e2e import words
from e2e.git import Checkout
from e2e.view import View
from e2e.words import APPS, CLUSTERS, ROOT, SETS, condition, one, status
from hub.fleet.local import LocalFleet, client_of
from hub.fleet.names import HUB
from hub.fleet.services import HUB as HUB_SERVICE
from hub.fleet.services import agent_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from e2e.git import Files

SPOKES = ("eu1", "us1", "lab1")
PROD = ("eu1", "us1")
SHOP = ("database", "backend", "frontend")
PRIMARY = "eu1"
"""Where the database is whose address all backends are told."""
SAMPLE_SETS = ("dev/dev", "platform/platform", "shop/shop")
GREEN_SECONDS = 180.0
AXLE_SECONDS = 240.0
_HUB_PATHS = (APPS, SETS, CLUSTERS, words.PROJECTS, words.ASSIGNMENTS, words.NAMESPACES)
_SPOKE_PATHS = (words.DEPLOYMENTS, words.CONFIG_MAPS, words.SERVICES, words.JOBS, words.NAMESPACES)
_SPOKE_KINDS = (
    *_SPOKE_PATHS,
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/platform.example.com/v1/qualities",
)
Versions = dict[str, tuple[str, str]]
"""Object -> (uid, resourceVersion)."""


class Rig:
    """Sees the hub as `hub` and each spoke as `spokes[name]`; both follow their API servers by watches."""

    def __init__(self, fleet: LocalFleet, digests: Mapping[str, str]) -> None:
        self.fleet = fleet
        self.digests = dict(digests)
        """Application -> its digest when the sample is as it was first deployed."""
        self.checkout = Checkout(fleet.checkout, url=fleet.repo_url)
        self.hub: View
        self.spokes: dict[str, View] = {}
        self._stack = AsyncExitStack()
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def on(cls, fleet: LocalFleet, digests: Mapping[str, str]) -> AsyncIterator[Rig]:
        rig = cls(fleet, digests)
        async with rig._stack:
            rig.hub = await rig._view(HUB, *_HUB_PATHS)
            for name in SPOKES:
                await rig.see(name)
            yield rig

    async def see(self, name: str) -> View:
        """Follow one spoke more."""
        self.spokes[name] = await self._view(name, *_SPOKE_PATHS)
        return self.spokes[name]

    async def _view(self, cluster: str, *paths: str) -> View:
        kubeconfig = self.fleet.kubeconfig(cluster)
        assert kubeconfig is not None, f"the fleet has no cluster {cluster}"
        client = await self._stack.enter_async_context(client_of(kubeconfig))
        return await self._stack.enter_async_context(View(client, *paths, changed=self._changed))

    # -- Git and people

    async def commit(self, message: str, files: Files) -> str:
        """Commit, push, and have the hub look at once; the new commit."""
        commit = await self.checkout.push(message, files)
        await self.refresh()
        return commit

    async def replace(self, message: str, name: str, old: str, new: str) -> str:
        """Commit one textual change of one file."""
        return await self.commit(message, {name: self.checkout.changed(name, old, new)})

    async def revert(self, commit: str = "HEAD") -> str:
        """`git revert`, and have the hub look at once; the new commit."""
        made = await self.checkout.revert(commit)
        await self.refresh()
        return made

    async def refresh(self) -> None:
        """What a webhook would do: the root for itself, one set for all that read the same repository."""
        patch = {"metadata": {"annotations": {ANNOTATION_REFRESH: uuid.uuid4().hex}}}
        for path in (one(APPS, ROOT), one(SETS, "shop/shop")):
            with contextlib.suppress(ApiError):  # the poller looks, too
                await self.hub.client.merge_patch(path, patch)

    async def axle(self, *arguments: str, code: int = 0) -> str:
        """Run the command line as people do; its output."""
        ended, out, errors = await self.tried(*arguments)
        assert ended == code, f"axle {' '.join(arguments)}: {ended}\n{out}{errors}"
        return out

    async def tried(self, *arguments: str) -> tuple[int, str, str]:
        """The same, however it ends: its exit code, its output, its complaints."""
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("axle")),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "AXLETREE_HOME": str(self.fleet.root), "COLUMNS": "200"},
        )
        try:
            async with asyncio.timeout(AXLE_SECONDS):
                out, errors = (each.decode() for each in await process.communicate())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, out, errors

    # -- the hub

    def app(self, key: str) -> words.Object:
        found = self.hub.get(APPS, key)
        assert found is not None, f"there is no Application {key}"
        return found

    def set(self, key: str) -> words.Object:
        found = self.hub.get(SETS, key)
        assert found is not None, f"there is no ApplicationSet {key}"
        return found

    def children(self, key: str) -> dict[str, words.Object]:
        """The Applications of a set, those on their way out included."""
        namespace, _, name = key.partition("/")
        return {
            each: app
            for each, app in self.hub.all(APPS).items()
            if app["metadata"]["namespace"] == namespace
            and app["metadata"].get("labels", {}).get(LABEL_SET) == name
        }

    def planned(self, key: str, commit: str) -> None:
        """Assert that the set's plan is of this commit."""
        revisions = status(self.set(key), "plan", "revisions") or {}
        assert list(revisions.values()) == [commit], f"{key} is planned from {revisions}"

    def live(self, key: str) -> None:
        """Assert that the Application runs its target and is well."""
        app = self.app(key)
        sync, health = status(app, "sync") or {}, status(app, "health") or {}
        assert sync.get("state") == "Synced", f"{key}: {sync}"
        assert sync["live"] == sync["target"] == sync["released"] != "", f"{key}: {sync}"
        assert health.get("state") == "Healthy", f"{key}: {health}"
        assert condition(app, "Ready").get("status") == "True", f"{key}: {status(app, 'conditions')}"

    def healthy(self, *keys: str) -> None:
        """Assert that these sets (all, where none is named) and the root are Healthy and say Ready."""
        for key in keys or self.hub.all(SETS):
            obj = self.set(key)
            assert status(obj, "health", "state") == "Healthy", f"{key}: {status(obj, 'health')}"
            assert condition(obj, "Ready").get("status") == "True", f"{key}: {status(obj, 'conditions')}"
        self.live(ROOT)

    def green(self) -> None:
        """Assert that everything is as the sample at first made it."""
        apps = self.hub.all(APPS)
        assert sorted(apps) == sorted(self.digests)
        for key, digest in self.digests.items():
            self.live(key)
            assert status(apps[key], "sync", "live") == digest, f"{key} runs another digest than at first"
            assert status(apps[key], "deletion") is None, f"{key}: {status(apps[key], 'deletion')}"
        assert sorted(self.hub.all(SETS)) == sorted(SAMPLE_SETS)
        self.healthy()
        assert sorted(self.hub.all(CLUSTERS)) == sorted((HUB, *SPOKES))

    # -- the spokes

    def address(self) -> str:
        """Where the database that all backends write to is now."""
        service = self.spokes[PRIMARY].get(words.SERVICES, "shop-database/database")
        assert service is not None, "the database has no Service"
        return f"{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def primary(self, cluster: str) -> str:
        """Where the cluster's backend writes to."""
        backend = self.spokes[cluster].get(words.DEPLOYMENTS, "shop-backend/backend")
        assert backend is not None, f"there is no backend on {cluster}"
        (variable,) = backend["spec"]["template"]["spec"]["containers"][0]["env"]
        assert variable["name"] == "PRIMARY"
        return str(variable["value"])

    async def versions(self, cluster: str, *, agent: bool = False) -> Versions:
        """Every object that the agent applied there; with `agent`, what it keeps for itself, too.

        Of that only what is kept at once. The assignment and inventories that grew no wider are written some time
        after the rush that they came in, so that a look right after an earlier test would see that as a change.
        """
        client = self.spokes[cluster].client
        found: Versions = {}
        for path in _SPOKE_KINDS:  # none of which copies labels from another
            with contextlib.suppress(ApiError):  # a kind that is not there has no objects
                listing = await client.list(path, label_selector=APPLYSET_PART_OF)
                found |= {_ref(obj): words.version(obj) for obj in listing.items}
        if agent:
            found |= await self.secrets(cluster, label_selector=f"{LABEL_STATE} in (app,identity)")
        return found

    async def secrets(self, cluster: str, *, label_selector: str = LABEL_STATE) -> Versions:
        """What the agent keeps there for itself."""
        path = f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets"
        listing = await self.spokes[cluster].client.list(path, label_selector=label_selector)
        return {_ref(obj): words.version(obj) for obj in listing.items}

    async def settled(self, *clusters: str, agent: bool = True) -> dict[str, Versions]:
        """The versions there (on every spoke), once workloads are at rest and two looks give the same.

        Controllers have done their part by then: what an app's health waits for is not the last that they write.
        """
        before: dict[str, Versions] = {}
        async with asyncio.timeout(GREEN_SECONDS):
            while True:
                names = clusters or tuple(self.spokes)
                rests = all([await self._at_rest(name) for name in names])
                now = {name: await self.versions(name, agent=agent) for name in names}
                if rests and now == before:
                    return now
                before = now
                await asyncio.sleep(1.0)

    async def _at_rest(self, cluster: str) -> bool:
        listing = await self.spokes[cluster].client.list(words.DEPLOYMENTS)
        return all(words.at_rest(obj) for obj in listing.items)

    # -- faults

    async def kill(self, service: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = next(each for each in self.fleet.services.processes() if each.name == service)
        os.kill(process.identity.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            while process.alive():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)

    async def stop_agent(self, cluster: str) -> None:
        """SIGTERM: it keeps what it has put off, and ends."""
        await self.fleet.services.stop(frozenset({agent_of(cluster)}))

    async def kill_hub(self) -> None:
        await self.kill(HUB_SERVICE)

    async def kill_agent(self, cluster: str) -> None:
        await self.kill(agent_of(cluster))

    async def start_hub(self) -> None:
        await self.fleet.start_hub(lambda _: None)

    def start_agent(self, cluster: str) -> None:
        self.fleet.start_agent(cluster)


def _ref(obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    return f"{obj['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
