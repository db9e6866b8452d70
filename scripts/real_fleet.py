#!/usr/bin/env python3
"""Widely used public applications on a local fleet, from a Git server, with the state that each comes to.

    axle up --clusters 1; scripts/real_fleet.py [--from DIR] [--offline] [--only TEXT] [--seconds N] [--keep]

Nothing of them is part of this repository: they are named below, and read from DIR (`DIR/OWNER+NAME`), else cloned;
what is not there is skipped, and said so. The fleet's Git server serves each as one commit, and each becomes an
Application on its first spoke, alone there, until it is Healthy or moves no more; then it is taken away, which it has
to go from, too. `--every` takes every chart and kustomization of `real_input.py` instead.

A spoke of processes runs no container: what a controller would make is not made, a load balancer has no address, an
aggregated API does not answer, an admission webhook neither. So an honest end is Healthy, or a message that names an
object, or the source, and what is amiss with it. Exit code 1: one has none (`silent`), or does not go (`stuck`).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from real_input import NAMED, checkout, items_in

from agent.contract.errors import ApiError
from hub.api.registry import APPLICATION, PROJECT
from hub.fleet import install, sample
from hub.fleet.home import home
from hub.fleet.local import LocalFleet, client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.kube.client import RestClient

NAMESPACE, ACCOUNT = "real", "real-deployer"
_FIELDS = "real-input"
_LOOK = 1.0
_QUIET = 20.0
"""Seconds without another word after which it is taken for what it comes to."""
_NOT_FOUND = 404
_CLAIM = re.compile(r"PersistentVolumeClaim ([^/\s]+)/([^:\s]+):")


@dataclass(frozen=True, slots=True)
class App:
    """One folder of a public repository, as one Application that a person would write."""

    name: str
    repository: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)
    """What its source says besides."""
    namespace: str = ""
    """Where it goes; its name, if nothing is said."""
    patches: tuple[dict[str, Any], ...] = ()

    def spec(self, git: str, cluster: str) -> dict[str, Any]:
        url = f"{git}/{self.repository.replace('/', '-')}.git"
        return {
            "cluster": cluster,
            "namespace": self.namespace or self.name,
            "sources": [{"repoURL": url, "revision": "main", "path": self.path, **self.options}],
            "patches": list(self.patches),
            "sync": {"createNamespace": True, "retry": {"limit": 2}},
        }


def _values(**values: Any) -> dict[str, Any]:
    return {"helm": {"valuesObject": values}}


EXAMPLES = "argoproj/argocd-example-apps"
_AT = "/metadata/namespace"
ANY_NAMESPACE = f"- {{op: add, path: {_AT}, value: x}}\n- {{op: remove, path: {_AT}}}\n"
"""Away with what a chart sets on some objects of kinds that have none."""
CHOSEN = (
    App("guestbook", EXAMPLES, "guestbook"),
    App("helm-guestbook", EXAMPLES, "helm-guestbook"),
    App("kustomize-guestbook", EXAMPLES, "kustomize-guestbook"),
    App("jsonnet-guestbook", EXAMPLES, "jsonnet-guestbook"),
    App("pre-post-sync", EXAMPLES, "pre-post-sync"),
    App("sync-waves", EXAMPLES, "sync-waves"),
    App("blue-green", EXAMPLES, "blue-green"),
    App("helm-dependency", EXAMPLES, "helm-dependency"),
    App("sock-shop", EXAMPLES, "sock-shop"),
    App("podinfo", "stefanprodan/podinfo", "charts/podinfo", _values(ingress={"enabled": True})),
    App("podinfo-dev", "stefanprodan/podinfo", "deploy/overlays/dev", namespace="dev"),
    App("online-boutique", "GoogleCloudPlatform/microservices-demo", "kustomize"),
    App("argo-cd", "argoproj/argo-cd", "manifests/cluster-install", namespace="argocd"),
    App("argo-rollouts", "argoproj/argo-rollouts", "manifests/cluster-install"),
    App("argo-workflows", "argoproj/argo-helm", "charts/argo-workflows"),
    App("argo-events", "argoproj/argo-helm", "charts/argo-events"),
    App(
        "cert-manager",
        "cert-manager/cert-manager",
        "deploy/charts/cert-manager",
        _values(crds={"enabled": True}),
    ),
    App("kyverno", "kyverno/kyverno", "config", {"directory": {"include": "install-*.yaml"}}),
    App("kyverno-policies", "kyverno/kyverno", "charts/kyverno-policies"),
    App("external-secrets", "external-secrets/external-secrets", "deploy/charts/external-secrets"),
    App("external-secrets-crds", "external-secrets/external-secrets", "deploy/crds"),
    App(
        "metrics-server",
        "kubernetes-sigs/metrics-server",
        "manifests/overlays/release",
        namespace="kube-system",
    ),
    App("kube-prometheus", "prometheus-operator/kube-prometheus", ".", namespace="monitoring"),
    App("kube-prometheus-stack", "prometheus-community/helm-charts", "charts/kube-prometheus-stack"),
    App("prometheus-crds", "prometheus-community/helm-charts", "charts/prometheus-operator-crds"),
    App("prometheus-adapter", "prometheus-community/helm-charts", "charts/prometheus-adapter"),
    App("kube-state-metrics", "kubernetes/kube-state-metrics", "examples/autosharding"),
    App("ingress-nginx", "kubernetes/ingress-nginx", "charts/ingress-nginx"),
    App("ingress-nginx-kind", "kubernetes/ingress-nginx", "deploy/static/provider/kind"),
    App("vault", "hashicorp/vault-helm", "."),
    App(
        "vault-ha",
        "hashicorp/vault-helm",
        ".",
        _values(server={"ha": {"enabled": True, "raft": {"enabled": True}}}),
    ),
    App("consul", "hashicorp/consul-k8s", "charts/consul"),
    App(
        "consul-patched",
        "hashicorp/consul-k8s",
        "charts/consul",
        patches=(
            {
                "patch": ANY_NAMESPACE,
                "target": {"kind": "ClusterRole.*|.*WebhookConfiguration|GatewayClass.*"},
            },
        ),
    ),
    App("keda", "kedacore/charts", "keda"),
    App("traefik", "traefik/traefik-helm-chart", "traefik"),
    App("gatekeeper", "open-policy-agent/gatekeeper", "charts/gatekeeper", namespace="gatekeeper-system"),
    App("cloudnative-pg", "cloudnative-pg/charts", "charts/cloudnative-pg"),
    App("sealed-secrets", "bitnami-labs/sealed-secrets", "helm/sealed-secrets"),
    App("external-dns", "kubernetes-sigs/external-dns", "charts/external-dns", _values(policy="sync")),
    App("metallb", "metallb/metallb", "config/native", namespace="metallb-system"),
    App("jenkins", "jenkinsci/helm-charts", "charts/jenkins"),
    App(
        "jenkins-set",
        "jenkinsci/helm-charts",
        "charts/jenkins",
        _values(controller={"admin": {"password": "of-an-example"}}),
    ),
    App("harbor", "goharbor/harbor-helm", "."),
    App("longhorn", "longhorn/longhorn", "chart", namespace="longhorn-system"),
    App("strimzi", "strimzi/strimzi-kafka-operator", "helm-charts/helm3/strimzi-kafka-operator"),
    App("rook-ceph", "rook/rook", "deploy/charts/rook-ceph"),
    App("loki-stack", "grafana/helm-charts", "charts/loki-stack"),
    App("promtail", "grafana/helm-charts", "charts/promtail"),
    App("redis", "bitnami/charts", "bitnami/redis"),
)


async def main() -> int:
    arguments = _arguments()
    fleet = LocalFleet(home())
    spokes = [name for name in fleet.names() if name != "hub"]
    kubeconfig = fleet.kubeconfig(spokes[0]) if spokes else None
    if kubeconfig is None:
        print("skipped: no local fleet is there; start one with `axle up`")
        return 0
    counts: Counter[str] = Counter()
    async with fleet.hub_client() as hub, client_of(kubeconfig) as spoke:
        await install.install_spoke(spoke, service_accounts=(ACCOUNT,))
        await _project(hub, spokes[0])
        for repository in NAMED if arguments.every else dict.fromkeys(one.repository for one in CHOSEN):
            apps = await _published(repository, fleet, arguments)
            if apps is None:
                counts["skipped"] += 1
                print(f"skipped     {repository}: it is not there")
            for app in apps or ():
                spec = app.spec(fleet.services.git_url, spokes[0])
                words = await _deployed(hub, spoke, app, spec, arguments)
                for word, detail in words:
                    counts[word] += 1
                    print(f"{word:11} {app.name} ({app.repository}/{app.path}) {detail}", flush=True)
    print(", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    return 1 if counts["silent"] or counts["stuck"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--from", dest="folder", type=Path, help="where clones are: DIR/OWNER+NAME")
    parser.add_argument("--offline", action="store_true", help="clone nothing")
    parser.add_argument("--only", default="", help="those whose name, repository or path holds this text")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long each may take")
    parser.add_argument("--keep", action="store_true", help="leave them there, side by side")
    parser.add_argument("--every", action="store_true", help="all that `real_input.py` compares")
    return parser.parse_args()


async def _published(repository: str, fleet: LocalFleet, arguments: argparse.Namespace) -> list[App] | None:
    """The repository's files as a repository of the fleet, and what is deployed of it; None where it is not there."""
    chosen = [one for one in CHOSEN if one.repository == repository]
    if not arguments.every and not any(_asked_for(one, arguments.only) for one in chosen):
        return []
    bare = fleet.root / "git" / f"{repository.replace('/', '-')}.git"
    top = Path(tempfile.mkdtemp(prefix="axletree-real-")) / "files"
    try:
        if not await asyncio.to_thread(checkout, repository, top, arguments):
            return None
        apps = list(_items(repository, top)) if arguments.every else chosen
        if not bare.exists():
            who = ("-c", "user.name=axletree", "-c", "user.email=axletree@localhost")
            await sample.git("init", "--quiet", "--initial-branch=main", str(top))
            await sample.git("-C", str(top), "add", "--all", "--force")
            await sample.git("-C", str(top), *who, "commit", "--quiet", "--message", "As it was found")
            await sample.git("clone", "--quiet", "--bare", str(top), str(bare))
    finally:
        shutil.rmtree(top.parent, ignore_errors=True)
    return [one for one in apps if _asked_for(one, arguments.only)]


def _asked_for(app: App, text: str) -> bool:
    return text in app.name or text in f"{app.repository}/{app.path}"


def _items(repository: str, top: Path) -> Iterator[App]:
    for item in items_in(repository, top):
        said = f"{repository}-{item.path}".lower()
        slug = "".join(char if char.isalnum() else "-" for char in said)[-50:].strip("-")
        yield App(slug, repository, item.path, namespace=f"real-{slug}"[:60].strip("-"))


async def _project(hub: RestClient, cluster: str) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await hub.apply(f"/api/v1/namespaces/{NAMESPACE}", namespace, field_manager=_FIELDS, force=True)
    project = PROJECT.manifest("project", namespace=NAMESPACE)
    project["spec"] = {
        "sourceRepos": ["**"],
        "destinations": [{"clusters": [cluster], "namespaces": ["*"]}],
        "clusterResources": [{"group": "*", "kind": "*"}],
        "serviceAccount": ACCOUNT,
    }
    await hub.apply(PROJECT.path(NAMESPACE, "project"), project, field_manager=_FIELDS, force=True)


async def _deployed(
    hub: RestClient, spoke: RestClient, app: App, spec: dict[str, Any], arguments: argparse.Namespace
) -> list[tuple[str, str]]:
    """One Application until it moves no more, and, unless it is kept, until it is gone: a word and a detail each."""
    made = APPLICATION.manifest(app.name, namespace=NAMESPACE) | {"spec": spec}
    path = APPLICATION.path(NAMESPACE, app.name)
    await hub.apply(path, made, field_manager=_FIELDS, force=True)
    found = await _settled(hub, path, arguments.seconds)
    words = [_judged(found)]
    if not arguments.keep:
        await hub.delete(path)
        asked = await _confirmed(hub, spoke, path)
        words += [("asks", asked)] if asked else []
        left = await _gone(hub, path, arguments.seconds)
        words += [("stuck", left)] if left is not None else []
    return words


def _judged(status: dict[str, Any]) -> tuple[str, str]:
    sync, health = status.get("sync") or {}, status.get("health") or {}
    if (sync.get("state"), health.get("state")) == ("Synced", "Healthy"):
        return "Healthy", ""
    said = [str(part.get("message") or "") for part in (sync, health, *(status.get("blockedBy") or ()))]
    detail = " ".join(next((one for one in said if one), "").split())
    state = health.get("state") if sync.get("state") == "Synced" else sync.get("state")
    return (str(state) if "/" in detail or "." in detail else "silent"), detail[:300]


async def _settled(hub: RestClient, path: str, seconds: float) -> dict[str, Any]:
    """Its status once it is well, or says the same for a while."""
    loop = asyncio.get_running_loop()
    deadline, since, before = loop.time() + seconds, loop.time(), None
    while True:
        status: dict[str, Any] = (await hub.get(path)).get("status") or {}
        said = _judged(status)
        if said != before:
            since, before = loop.time(), said
        moving = said[0] in {"None", "silent", "Unknown", "Syncing"}
        if said[0] == "Healthy" or loop.time() > deadline or (loop.time() - since > _QUIET and not moving):
            return status
        await asyncio.sleep(_LOOK)


async def _confirmed(hub: RestClient, spoke: RestClient, path: str) -> str:
    """Say yes to the deletion of claims, where that is asked; what was asked, empty where nothing was."""
    for _ in range(5):
        await asyncio.sleep(_LOOK)
        try:
            said = _judged((await hub.get(path)).get("status") or {})[1]
        except ApiError:
            return ""
        for namespace, name in _CLAIM.findall(said) if "ConfirmDelete" in said else ():
            patch = {"metadata": {"annotations": {"axletree.dev/confirm-delete": name}}}
            await spoke.merge_patch(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}", patch)
        if "ConfirmDelete" in said:
            return said
    return ""


async def _gone(hub: RestClient, path: str, seconds: float) -> str | None:
    """None once it is; else why it is not."""
    deadline = asyncio.get_running_loop().time() + seconds
    status: dict[str, Any] = {}
    while asyncio.get_running_loop().time() < deadline:
        try:
            status = (await hub.get(path)).get("status") or {}
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        await asyncio.sleep(_LOOK)
    return f"is not gone: {status.get('deletion')}; {_judged(status)[1]}"


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
