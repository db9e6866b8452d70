"""One local fleet as the tests drive it: Git, crashes, edits, and back to green after each of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import AGENT_NAMESPACE, ANNOTATION_REFRESH, APPLYSET_PART_OF
from e2e import words
from e2e.view import View
from e2e.words import APPS, CLUSTERS, ROOT, SETS, condition, one, status
from hub.fleet import sample
from hub.fleet.local import LocalFleet, client_of
from hub.fleet.names import HUB
from hub.fleet.services import HUB as HUB_SERVICE
from hub.fleet.services import agent_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from agent.kube.client import RestClient
    from hub.fleet.process import Process

SPOKES = ("eu1", "us1", "lab1")
PROD = ("eu1", "us1")
SHOP = ("database", "backend", "frontend")
GREEN_SECONDS = 90.0
NOT_FOUND = 404
_HUB_PATHS = (APPS, SETS, CLUSTERS, words.PROJECTS, words.ASSIGNMENTS)
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
        self.hub: View
        self.spokes: dict[str, View] = {}
        self._stack = AsyncExitStack()

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
        return await self._stack.enter_async_context(View(client, *paths))

    # -- Git

    async def git(self, *arguments: str) -> str:
        return await sample.git("-C", str(self.fleet.checkout), *arguments)

    async def head(self) -> str:
        return await self.git("rev-parse", "HEAD")

    async def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        """Write (None: delete) files, commit, push, and have the hub look at once; the new commit."""
        for name, content in files.items():
            path = self.fleet.checkout / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        await self.git("add", "--all")
        await self.git("commit", "--quiet", "--message", message)
        return await self._publish()

    async def replace(self, message: str, name: str, old: str, new: str) -> str:
        """Commit one textual change of one file."""
        return await self.commit(message, {name: self.changed(name, old, new)})

    def changed(self, name: str, old: str, new: str) -> str:
        text = self.read(name)
        assert old in text, f"{name} does not have {old!r}"
        return text.replace(old, new)

    def read(self, name: str) -> str:
        return (self.fleet.checkout / name).read_text()

    async def revert(self, commit: str = "HEAD") -> str:
        """`git revert`, and have the hub look at once; the new commit."""
        await self.git("revert", "--no-edit", commit)
        return await self._publish()

    async def _publish(self) -> str:
        await self.git("push", "--quiet", "origin", "main")
        await self.refresh()
        return await self.head()

    async def refresh(self) -> None:
        """What a webhook would do: the root for itself, one set for all that read the same repository."""
        patch = {"metadata": {"annotations": {ANNOTATION_REFRESH: uuid.uuid4().hex}}}
        for path in (one(APPS, ROOT), one(SETS, "shop/shop")):
            with contextlib.suppress(ApiError):  # the poller looks, too
                await self.hub.client.merge_patch(path, patch)

    # -- the hub

    def app(self, key: str) -> words.Object:
        found = self.hub.get(APPS, key)
        assert found is not None, f"there is no Application {key}"
        return found

    def set(self, key: str) -> words.Object:
        found = self.hub.get(SETS, key)
        assert found is not None, f"there is no ApplicationSet {key}"
        return found

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
        """Assert that these sets, and the root, are Healthy and say Ready."""
        for key in keys or self.hub.all(SETS):
            obj = self.set(key)
            assert status(obj, "health", "state") == "Healthy", f"{key}: {status(obj, 'health')}"
            assert condition(obj, "Ready").get("status") == "True", f"{key}: {status(obj, 'conditions')}"
        self.live(ROOT)

    def green(self) -> None:
        """Assert that everything is as the sample at first made it."""
        apps = self.hub.all(APPS)
        assert sorted(apps) == sorted(self.digests), f"{sorted(apps)}"
        for key, digest in self.digests.items():
            self.live(key)
            assert status(apps[key], "sync", "live") == digest, f"{key} runs another digest than at first"
            assert status(apps[key], "deletion") is None, f"{key}: {status(apps[key], 'deletion')}"
        assert sorted(self.hub.all(SETS)) == ["dev/dev", "platform/platform", "shop/shop"]
        self.healthy()
        assert sorted(self.hub.all(CLUSTERS)) == sorted((HUB, *SPOKES))

    async def recover(self) -> None:
        """Green from whatever an earlier test left: what failed there must fail there only."""
        try:
            self.green()
        except AssertionError:
            for service in (HUB_SERVICE, *(agent_of(name) for name in (HUB, *SPOKES))):
                if self.fleet.services.running(service):
                    await self.kill(service)
            await self.restore()

    async def restore(self) -> None:
        """Whatever a test left: services run, Git says what it said at first, and the fleet follows."""
        self.fleet.services.start_git(self.fleet.root / "git")
        await self.start_hub()
        for name in (HUB, *SPOKES):
            self.fleet.start_agent(name)
        first = (await self.git("rev-list", "--max-parents=0", "HEAD")).splitlines()[0]
        await self.git("reset", "--quiet", "--hard")
        await self.git("clean", "--quiet", "-d", "--force")
        await self.git("read-tree", "-u", "--reset", first)
        if await self.git("status", "--porcelain"):
            await self.git("commit", "--quiet", "--message", "Back to the sample")
            await self._publish()
        commit = await self.head()

        def check() -> None:
            for key in ("shop/shop", "platform/platform", "dev/dev"):
                self.planned(key, commit)
            self.green()

        await self.hub.eventually(check, seconds=GREEN_SECONDS)

    # -- the spokes

    async def versions(self, cluster: str, *, agent: bool = False) -> Versions:
        """Every object that the agent applied there; with `agent`, what it keeps for itself, too."""
        client = self.spokes[cluster].client
        found: Versions = {}
        for path in _SPOKE_KINDS:
            with contextlib.suppress(ApiError):  # a kind that is not there has no objects
                listing = await client.list(path, label_selector=APPLYSET_PART_OF)
                # EndpointSlices and the like copy labels; these kinds are nobody's copies.
                found |= {_ref(obj): words.version(obj) for obj in listing.items}
        if agent:
            secrets = await client.list(f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets")
            found |= {_ref(obj): words.version(obj) for obj in secrets.items}
        return found

    async def everywhere(self, *, agent: bool = False) -> dict[str, Versions]:
        return {name: await self.versions(name, agent=agent) for name in SPOKES}

    async def settled(self) -> dict[str, Versions]:
        """The versions on every spoke, once two looks give the same: controllers have done their part."""
        async with asyncio.timeout(GREEN_SECONDS):
            before = await self.everywhere(agent=True)
            while True:
                await asyncio.sleep(0.5)
                now = await self.everywhere(agent=True)
                if now == before:
                    return now
                before = now

    # -- faults

    def process(self, service: str) -> Process:
        return next(each for each in self.fleet.services.processes() if each.name == service)

    async def kill(self, service: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self.process(service)
        os.kill(process.identity.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while process.alive():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)

    async def kill_hub(self) -> None:
        await self.kill(HUB_SERVICE)

    async def kill_agent(self, cluster: str) -> None:
        await self.kill(agent_of(cluster))

    async def start_hub(self) -> None:
        await self.fleet.start_hub(lambda _: None)

    def start_agent(self, cluster: str) -> None:
        self.fleet.start_agent(cluster)

    def log(self, service: str) -> Path:
        return self.fleet.services.folder / f"{service}.log"


def _ref(obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    return f"{obj['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
