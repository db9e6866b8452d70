"""A hub's plan loop in memory: its own parts, with what leaves the process answered at the ports."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from agent.contract.canonical import canonical_json
from agent.contract.names import FINALIZER
from agent.kube.config import KubeConfig
from hub.api.project import PROJECT_NAME
from hub.operator.caches import Caches
from hub.operator.context import HubContext
from hub.operator.decisions import Decisions
from hub.operator.fleetview import FleetView
from hub.operator.planloop import PlanLoop
from hub.operator.planner import Planner
from hub.operator.settings import HubSettings
from hub.operator.state import State
from hub.operator.writer import Writer
from hub.render.renderer import Rendered
from hub.render.runner import InlineRunner
from hub.sources.port import RepoListing
from tests.bench.world import Answering, digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.api.application import ApplicationSpec
    from hub.core.expansion import ExpandRequest, Expansion
    from hub.core.model import ClusterView
    from hub.core.needs import Needs

NAMESPACE = "shop"
REPOSITORY = "https://git.example.com/shop.git"
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


class Counting(InlineRunner):
    """Notes how many clusters each expansion was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def expand(self, request: ExpandRequest) -> Expansion | Needs:
        self.sizes.append(len(request.clusters))
        return await super().expand(request)


class Living(Answering):
    """An API server where nothing terminates."""

    async def get(self, path: str) -> dict[str, Any]:
        return {"metadata": {"name": path.rpartition("/")[2]}}


@dataclass
class Repository:
    """One branch, whose directories are apps."""

    commit: str = "c1"
    dirs: tuple[str, ...] = ("apps/api", "apps/web")

    def seen_by(self, namespace: str) -> Self:
        del namespace
        return self

    def reader(self, repo_url: str) -> str:
        del repo_url
        return ""

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        del repo_url, revision, fresh
        return self.commit

    async def listing(self, repo_url: str, commit: str) -> RepoListing:
        del repo_url, commit
        return RepoListing(files=(), dirs=self.dirs)

    async def read(self, repo_url: str, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        raise AssertionError(f"{repo_url}@{commit}: {paths} are read")

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Renders:
    """A digest of all that a bundle depends on."""

    calls: list[str] = field(default_factory=list)

    async def render(
        self,
        app_key: str,
        spec: ApplicationSpec,
        *,
        cluster: ClusterView,
        commits: Mapping[tuple[str, str], str],
        **_: Any,
    ) -> Rendered:
        self.calls.append(app_key)
        known = [spec.to_json(), dict(cluster.labels), dict(cluster.values), sorted(commits.values())]
        digest = digest_of(canonical_json(known).decode())
        return Rendered(digest, f"blob-{digest}")

    async def objects(self, _: Rendered) -> list[Any]:
        return []


class Hub:
    """Sets, clusters and a project in `shop`; `plan` is one pass, as the plan loop makes it."""

    def __init__(self) -> None:
        client = Living(KubeConfig("https://nobody.invalid"), user_agent="axletree-test")
        self.client = client
        self.caches = client.caches = Caches(client)
        self.now = NOW
        self.git, self.renders, self.runner = Repository(), Renders(), Counting()
        self.context = HubContext(
            settings=HubSettings(data_dir=Path()),
            caches=self.caches,
            state=State(),
            writer=Writer(client, self.caches, concurrency=8),
            source=cast("Any", self.git),
            pool=cast("Any", self.runner),
            renderer=cast("Any", self.renders),
            hub_id="test",
            epoch=1,
            now=lambda: self.now,
            fleet_view=FleetView(self.caches, now=lambda: self.now, stale_after=3600, since=NOW),
        )
        self.planner = Planner(self.context, Decisions(self.context, list))
        self.loop = PlanLoop(self.context, self.planner, on_planned=lambda _sets, _apps: None)
        self.caches.projects.observe(
            None,
            {
                "metadata": self._meta(PROJECT_NAME, NAMESPACE),
                "spec": {
                    "sourceRepos": ["**"],
                    "destinations": [{"clusters": ["*"], "namespaces": ["*"]}],
                    "serviceAccount": "deployer",
                },
            },
        )

    def _meta(self, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
        there = {"namespace": namespace} if namespace else {}
        version = self.client.stamp()
        return {"name": name, **there, "uid": f"{namespace}/{name}", "resourceVersion": version, **more}

    def cluster(self, name: str, *, labels: dict[str, str], **spec: Any) -> None:
        metadata = self._meta(name, labels=dict(labels))
        status = {"sealingKey": "a2V5"}
        if spec.pop("removing", False):
            metadata["deletionTimestamp"] = status["removal"] = "2026-05-01T11:00:00Z"
        obj = {"metadata": metadata, "spec": {"accepted": True} | spec, "status": status}
        self.caches.clusters.observe(None, obj)

    def remove_cluster(self, name: str) -> None:
        self.caches.clusters.observe(self.caches.clusters.get(name), None)

    def set(self, name: str, spec: dict[str, Any]) -> None:
        before = self.caches.sets.get(f"{NAMESPACE}/{name}")
        generation = 1 if before is None else before["metadata"]["generation"] + 1
        metadata = self._meta(name, NAMESPACE, generation=generation)
        status = {} if before is None else {"status": before.get("status") or {}}
        self.caches.sets.observe(None, {"metadata": metadata, "spec": copy.deepcopy(spec)} | status)

    def app(self, name: str, cluster: str) -> None:
        """A hand-written Application."""
        source = {"repoURL": REPOSITORY, "path": name}
        spec = {"cluster": cluster, "namespace": "x", "sources": [source]}
        metadata = self._meta(name, NAMESPACE, generation=1, finalizers=[FINALIZER])
        self.caches.applications.observe(None, {"metadata": metadata, "spec": spec})

    async def plan_all(self) -> None:
        apps = {f"{NAMESPACE}/{name}" for name in ("byhand",)} & set(self.caches.applications)
        await self.loop.once(set(self.caches.sets), apps)

    async def plan_clusters(self, *names: str) -> None:
        await self.loop.once(set(), set(), clusters=frozenset(names))

    def snapshot(self) -> dict[str, Any]:
        """Everything that a pass decides."""
        state = self.context.state
        return {
            "children": {key: _said(obj) for key, obj in self.caches.applications.view().items()},
            "plans": {
                key: (obj.get("status") or {}).get("plan") for key, obj in self.caches.sets.view().items()
            },
            "targets": dict(state.targets),
            "problems": {key: each.problem for key, each in state.sets.items()},
            "revisions": {key: dict(each.revisions) for key, each in state.sets.items()},
        }


def _said(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: obj["metadata"].get(key) for key in ("name", "labels", "annotations", "finalizers")}
    return {"metadata": metadata, "spec": obj["spec"], "deletion": (obj.get("status") or {}).get("deletion")}
