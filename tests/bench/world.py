"""A fleet of any size in memory, and the hub's own parts over it: no API server, no Git, no agents.

Ten apps on every cluster, each a child of one of ten sets with three waves, each after the one before it; the last
also after the first one on the canary clusters, by a selector over cluster labels.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agent.contract.names import API_VERSION, FINALIZER, HUB_NAMESPACE
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from hub.api.project import PROJECT_NAME
from hub.core.children import expand_request, validate_children
from hub.core.expand import expand
from hub.core.expansion import Expansion
from hub.gateway.liveness import lease_manifest
from hub.operator.caches import Caches
from hub.operator.context import HubContext
from hub.operator.fleetview import FleetView
from hub.operator.releaser import Releaser
from hub.operator.settings import HubSettings
from hub.operator.state import State, Target
from hub.operator.writer import Writer
from hub.render.renderer import Rendered
from hub.render.runner import InlineRunner
from tests.bench.marks import BenchFailed

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.api.application import ApplicationSpec
    from hub.core.expansion import Child
    from hub.core.model import ClusterView
    from hub.core.templating import TemplateEngine

NAMESPACE = "shop"
APPS = 10
CANARIES = 3
REGIONS = 5
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
_EARLY = 20
"""One cluster in so many is in the second wave."""
_REPOSITORY = "https://git.example.com/shop.git"
_COMMIT = "c0ffee" * 6 + "c0ff"
_REPORTED = "2026-05-01T11:00:00Z"


class Answering(RestClient):
    """What the hub writes, answered from the hub's own caches at once: the API server's time is not ours."""

    caches: Caches
    _version = 1_000_000

    async def merge_patch(self, path: str, patch: Manifest, **_: Any) -> Manifest:
        *_before, namespace, plural, name = path.split("/")
        objects = {
            "applications": self.caches.applications,
            "applicationsets": self.caches.sets,
            "clusters": self.caches.clusters,
        }[plural]
        obj = objects.get(name if plural == "clusters" else f"{namespace}/{name}")
        if obj is None:
            raise BenchFailed(f"{path} is written, and is not there")
        return self._stamped(_merged(obj, patch))

    async def apply(self, path: str, obj: Manifest, **_: Any) -> Manifest:
        *_before, namespace, _plural, name = path.split("/")
        there = self.caches.applications.get(f"{namespace}/{name}")
        if there is None:
            metadata = {"uid": self.stamp(), "generation": 1} | obj["metadata"]
            return self._stamped({**obj, "metadata": metadata})
        metadata = there["metadata"]
        moved = metadata.get("generation", 1) + (obj["spec"] != there["spec"])
        return self._stamped(
            {**there, "spec": obj["spec"], "metadata": {**metadata, **obj["metadata"], "generation": moved}}
        )

    async def replace(self, path: str, obj: Manifest, **_: Any) -> Manifest:
        return self._stamped(obj)

    async def create(self, path: str, obj: Manifest, **_: Any) -> Manifest:
        return self._stamped(obj)

    def stamp(self) -> str:
        self._version += 1
        return str(self._version)

    def _stamped(self, obj: Manifest) -> Manifest:
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": self.stamp()}}


class Rendering:
    """What workers would make of each child: the same as before, but where its cluster has moved elsewhere."""

    async def render(
        self, app_key: str, _spec: ApplicationSpec, *, cluster: ClusterView, **_: Any
    ) -> Rendered:
        name = app_key.partition("/")[2]
        digest = digest_of(
            name if cluster.labels["region"] == region_of(cluster.name) else f"{name} elsewhere"
        )
        return Rendered(digest, f"blob-{digest}")


class Standing:
    """A repository in which nothing is committed."""

    def seen_by(self, _namespace: str) -> Standing:
        return self

    def reader(self, _repository: str) -> str:
        return ""

    async def resolve(self, _repository: str, _revision: str, **_: Any) -> str:
        return _COMMIT


@dataclass(slots=True)
class World:
    """`clusters` clusters with `APPS` children each; nothing is in the caches but clusters, sets and the project."""

    clusters: int
    client: Answering = field(init=False)
    hub: HubContext = field(init=False)
    now: datetime = NOW

    def __post_init__(self) -> None:
        client = Answering(KubeConfig("https://nobody.invalid"), user_agent="axletree-bench")
        caches = client.caches = Caches(client)
        self.client = client
        self.hub = HubContext(
            settings=HubSettings(data_dir=Path()),
            caches=caches,
            state=State(),
            writer=Writer(client, caches, concurrency=32),
            source=cast("Any", Standing()),
            pool=cast("Any", InlineRunner()),
            renderer=cast("Any", Rendering()),  # what renders is measured elsewhere
            hub_id="bench",
            epoch=1,
            now=lambda: self.now,
            fleet_view=FleetView(
                caches, now=lambda: self.now, stale_after=3600, since=NOW - timedelta(hours=1)
            ),
        )
        everywhere = [{"clusters": ["*"], "namespaces": ["*"]}]
        rules = {"sourceRepos": ["**"], "destinations": everywhere, "serviceAccount": "deployer"}
        project = {"metadata": self.meta(PROJECT_NAME, NAMESPACE), "spec": rules}
        caches.projects.observe(None, project)
        for at in range(self.clusters):
            self.cluster(at, team="blue")
            lease = lease_manifest(_cluster(at), holder="gateway", now=NOW, connected=True, epoch=0, seq=0)
            lease["metadata"] |= {"resourceVersion": client.stamp()}
            caches.leases.observe(None, lease)
        for at in range(APPS):
            obj = {"metadata": self.meta(f"app{at}", NAMESPACE, generation=1), "spec": set_spec(at)}
            caches.sets.observe(None, obj)

    def meta(self, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
        there = {"namespace": namespace} if namespace else {}
        version = self.client.stamp()
        return {"name": name, **there, "uid": f"{namespace}/{name}", "resourceVersion": version, **more}

    def cluster(self, at: int, **labels: str) -> str:
        """Write a cluster, with these labels beside its own. Gives its name."""
        role = "canary" if at < CANARIES else "early" if at % _EARLY == 0 else "main"
        own = {"region": region_of(_cluster(at)), "role": role}
        spec = {"accepted": True, "values": {"replicas": 2 + at % 3, "domain": f"{_cluster(at)}.example.com"}}
        obj = {
            "metadata": self.meta(_cluster(at), labels=own | labels),
            "spec": spec,
            "status": {"sealingKey": "a2V5"},
        }
        self.hub.caches.clusters.observe(None, obj)
        return _cluster(at)

    def expand(self, engine: TemplateEngine) -> dict[str, tuple[Child, ...]]:
        """Every set's children, checked against the API's models, as a plan pass does it."""
        fleet = self.hub.fleet()
        found: dict[str, tuple[Child, ...]] = {}
        for key, obj in self.hub.caches.sets.view().items():
            namespace, _, name = key.partition("/")
            expansion = expand(expand_request(namespace, name, obj["spec"], fleet), engine=engine)
            if not isinstance(expansion, Expansion):
                raise BenchFailed(f"set {key} asks for more than the fleet")
            validate_children(expansion.children, set_key=key)
            found[key] = expansion.children
        return found

    def settle(self, children: dict[str, tuple[Child, ...]]) -> None:
        """Make every child, assigned and reported Healthy at its target, as JSON that came from an API server."""
        assigned: dict[str, list[dict[str, Any]]] = {}
        for each in (child for found in children.values() for child in found):
            obj = json.loads(json.dumps(each.manifest))
            name = obj["metadata"]["name"]
            key, digest = f"{NAMESPACE}/{name}", digest_of(name)
            obj["metadata"] |= self.meta(name, NAMESPACE, generation=1, finalizers=[FINALIZER])
            obj["status"] = _status(digest)
            self.hub.caches.applications.observe(None, obj)
            self.hub.state.targets[key] = Target(1, digest, f"blob-{digest}", _COMMIT)
            entry = {"app": key, "digest": digest, "blob": f"blob-{digest}", "release": 1}
            assigned.setdefault(obj["spec"]["cluster"], []).append(entry)
        for cluster, apps in assigned.items():
            apps.sort(key=lambda entry: str(entry["app"]))
            spec = {"epoch": 1, "seq": 1, "apps": apps, "tombstones": []}
            manifest = {"apiVersion": API_VERSION, "kind": "Assignment", "spec": spec}
            self.hub.caches.assignments.observe(
                None, manifest | {"metadata": self.meta(cluster, HUB_NAMESPACE)}
            )

    def releaser(self) -> Releaser:
        """A new release loop over the caches, which knows what is assigned and nothing else."""
        releaser = Releaser(self.hub)
        releaser.restore()
        return releaser

    def key(self, app: int, cluster: int) -> str:
        return f"{NAMESPACE}/app{app}-{_cluster(cluster)}"

    def report(self, key: str, **observed: Any) -> None:
        """What the gateway writes of an agent's report."""
        obj = self.hub.caches.applications.get(key)
        if obj is None:
            raise BenchFailed(f"{key} is not there")
        status = obj["status"]
        moved = {**obj, "status": {**status, "observed": {**status["observed"], **observed}}}
        moved["metadata"] = {**obj["metadata"], "resourceVersion": self.client.stamp()}
        self.hub.caches.applications.observe(None, moved)

    def aim(self, key: str, name: str) -> None:
        """Give a child another target, as a plan pass does at its end."""
        last, digest = self.hub.state.targets[key], digest_of(name)
        self.hub.state.targets[key] = Target(last.plan + 1, digest, f"blob-{digest}", _COMMIT)


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def set_spec(at: int) -> dict[str, Any]:
    """One app for every cluster."""
    before = [{"selector": {"matchLabels": {"app": f"app{at - 1}"}}}] if at else []
    canary = {"clusters": {"selector": {"matchLabels": {"role": "canary"}}}}
    first = [{"selector": {"matchLabels": {"app": "app0"}}, **canary}] if at == APPS - 1 else []
    source = {
        "repoURL": _REPOSITORY,
        "revision": "main",
        "path": f"apps/app{at}/{{{{ cluster.labels.region }}}}",
        "helm": {
            "values": {
                "replicas": "{{ cluster.values.replicas }}",
                "host": f"app{at}.{{{{ values.domain }}}}",
            }
        },
    }
    return {
        "generators": [{"clusters": {"values": {"domain": "{{ cluster.values.domain }}"}}}],
        "template": {
            "metadata": {
                "name": f"app{at}-{{{{ cluster.name }}}}",
                "labels": {"app": f"app{at}", "region": "{{ cluster.labels.region }}"},
            },
            "spec": {
                "cluster": "{{ cluster.name }}",
                "namespace": NAMESPACE,
                "sources": [source],
                "dependsOn": [*before, *first],
            },
        },
        "rollout": {
            "waves": [
                {"name": "canary", "selector": {"matchLabels": {"role": "canary"}}},
                {"name": "early", "selector": {"matchLabels": {"role": "early"}}, "failureBudget": "5%"},
                {"name": "all", "failureBudget": "5%"},
            ]
        },
    }


def region_of(cluster: str) -> str:
    """Where a cluster is unless it was relabelled."""
    return f"r{int(cluster[1:]) % REGIONS}"


def _cluster(at: int) -> str:
    return f"c{at:05}"


def _status(digest: str) -> dict[str, Any]:
    sync = {"state": "Synced", "message": "", "plan": 1, "target": digest, "targetBlob": f"blob-{digest}"}
    sync |= {"released": digest, "release": 1, "live": digest, "revision": _COMMIT}
    well = {"observedAt": _REPORTED, "epoch": 1, "seq": 1, "counts": {"Healthy": 4}}
    entry = {"release": 1, "digest": digest, "revision": _COMMIT, "at": _REPORTED, "blob": f"blob-{digest}"}
    return {
        "observedGeneration": 1,
        "sync": sync,
        "health": {"state": "Healthy", "message": "", "observedAt": _REPORTED, "counts": {"Healthy": 4}},
        "observed": {"release": 1, "digest": digest, "sync": "Synced", "health": "Healthy", **well},
        "history": [entry | {"well": True}],
    }


def _merged(obj: Manifest, patch: Manifest) -> Manifest:
    found = dict(obj)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            inner = found.get(key)
            found[key] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            found[key] = value
    return found
