#!/usr/bin/env python3
"""Public charts and overlays that nobody here wrote, rendered here and by the programs, compared object by object.

    scripts/real_input.py [--from DIR] [--offline] [--only TEXT]

Nothing of them is part of this repository: they are named below, and read from DIR (`DIR/OWNER+NAME`, a clone or its
bare form), else cloned. What is not there is skipped, and said so. Every chart must give what `helm template` prints
with its own values, every kustomization what `kustomize build` prints; where the program fails, or the hub refuses by
rule, that is told. Exit code 1 says that something differs.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.contract.errors import AxletreeError
from agent.contract.manifest import ref_of
from agent.kube.yaml import YamlError, load_all
from hub.api.application import ApplicationSpec
from hub.core.model import ClusterView
from hub.fleet.tools import ensure_tools
from hub.render.chart import DEFAULT_KUBE_VERSION
from hub.render.inputs import Inputs
from hub.render.kustomize import NAMES
from hub.render.pool import WorkerPool
from hub.render.programs import Programs
from hub.sources.directory import LOCAL, DirectorySource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.contract.manifest import Manifest

NAMED = (
    "argoproj/argocd-example-apps",
    "stefanprodan/podinfo",
    "prometheus-community/helm-charts",
    "kubernetes/ingress-nginx",
    "fluxcd/flux2-kustomize-helm-example",
    "grafana/helm-charts",
    "kubernetes-sigs/kustomize",
    "kubernetes-sigs/metrics-server",
    "kubernetes-sigs/external-dns",
    "cert-manager/cert-manager",
    "argoproj/argo-helm",
    "hashicorp/vault-helm",
    "hashicorp/consul-k8s",
    "kedacore/charts",
    "traefik/traefik-helm-chart",
    "metallb/metallb",
    "longhorn/longhorn",
    "jenkinsci/helm-charts",
    "goharbor/harbor-helm",
    "istio/istio",
    "nats-io/k8s",
    "crossplane/crossplane",
    "minio/operator",
    "temporalio/helm-charts",
    "falcosecurity/charts",
    "vmware-tanzu/helm-charts",
    "jupyterhub/zero-to-jupyterhub-k8s",
    "open-telemetry/opentelemetry-helm-charts",
    "VictoriaMetrics/helm-charts",
    "kubernetes-sigs/node-feature-discovery",
    "kubernetes-sigs/cluster-api",
    "kubeflow/manifests",
)
NAMESPACE, RELEASE = "real", "real"
_SECONDS = 300
_CHART, _OVERLAY = "chart", "overlay"
_RULES = (
    "RemoteBaseRefused",
    "KustomizeRefused",
    "UnstableRender",
    "ChartDependencyMissing",
    "SchemaMismatch",
)
"""What the hub refuses and the programs do not."""
_HOOK, _TEST = "helm.sh/hook", "test"


@dataclass(frozen=True, slots=True)
class Item:
    """One folder of one repository."""

    repository: str
    top: Path
    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All words but `differs` are well: `equal`, `refused`, `both fail`, `fetched`, `skipped`."""

    word: str
    detail: str = ""


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--from", dest="folder", type=Path, help="where clones are: DIR/OWNER+NAME")
    parser.add_argument("--offline", action="store_true", help="clone nothing")
    parser.add_argument("--only", default="", help="folders whose repository or path holds this text")
    arguments = parser.parse_args()
    tools = await ensure_tools()
    programs = Programs(kustomize=(str(tools / "kustomize"), "build"))
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="axletree-real-") as scratch:
        async with WorkerPool(size=2, timeout=60.0, memory_mb=1024, programs=programs) as pool:
            for name in NAMED:
                top = Path(scratch) / name.replace("/", "+")
                if not await asyncio.to_thread(checkout, name, top, arguments):
                    print(f"skipped   {name}: it is not there")
                    counts["skipped"] += 1
                    continue
                for item in items_in(name, top):
                    if arguments.only in f"{item.repository}/{item.path}":
                        outcome = await _compared(item, pool, tools)
                        counts[outcome.word] += 1
                        print(
                            f"{outcome.word:9} {item.repository}/{item.path} ({item.kind}) {outcome.detail}"
                        )
    print(", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    return 1 if counts["differs"] else 0


def checkout(name: str, top: Path, arguments: argparse.Namespace) -> bool:
    """The newest commit's files, from a clone that is there or a new one; False where there is none."""
    top.mkdir()
    here = [arguments.folder / name.replace("/", "+")] if arguments.folder else []
    repository = next((path for one in here for path in (one / "repo", one) if path.exists()), None)
    if repository is None and not arguments.offline:
        repository = top.with_suffix(".git")
        command = ["git", "clone", "--quiet", "--depth", "1", "--bare", f"https://github.com/{name}.git"]
        cloned = subprocess.run(
            [*command, str(repository)], check=False, capture_output=True, timeout=_SECONDS
        )
        if cloned.returncode != 0:
            return False
    if repository is None:
        return False
    kept = [".", *(f":(exclude,literal){path}" for path in _absent(repository))]
    packed = _git(repository, "archive", "HEAD", "--", *kept)
    subprocess.run(["tar", "-x", "-C", str(top)], input=packed, check=True, timeout=_SECONDS)
    return True


def _absent(repository: Path) -> list[str]:
    """The files that a copy lists and does not have: mirrors leave out the largest, which are pictures and archives."""
    listed = _git(repository, "ls-tree", "-r", "-z", "HEAD").decode(errors="surrogateescape").split("\0")
    entries = [one.partition("\t") for one in listed if " blob " in one]
    asked = "\n".join(head.split()[2] for head, _, _ in entries)
    answers = _git(repository, "cat-file", "--batch-check", stdin=asked.encode()).decode().splitlines()
    return [path for (_, _, path), said in zip(entries, answers, strict=True) if said.endswith(" missing")]


def _git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        input=stdin,
        check=True,
        capture_output=True,
        timeout=_SECONDS,
    )
    return done.stdout


def items_in(name: str, top: Path) -> Iterator[Item]:
    """Every chart that is none of another's, and every kustomization."""
    for file in sorted(top.rglob("*")):
        path = file.parent.relative_to(top).as_posix()
        if file.name == "Chart.yaml" and not any(
            (one / "Chart.yaml").exists() for one in file.parent.parents
        ):
            yield Item(name, top, path, _CHART)
        elif file.name in NAMES:
            yield Item(name, top, path, _OVERLAY)


async def _compared(item: Item, pool: WorkerPool, tools: Path) -> Outcome:
    if item.kind == _CHART:
        command = [str(tools / "helm"), "template", RELEASE, item.path, "--namespace", NAMESPACE]
        command += ["--include-crds", "--kube-version", DEFAULT_KUBE_VERSION]
        source: dict[str, Any] = {"helm": {"releaseName": RELEASE}}
    else:
        command, source = [str(tools / "kustomize"), "build", item.path], {"kustomize": {}}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=item.top, check=False, capture_output=True, text=True, timeout=_SECONDS
    )
    theirs = _objects(done.stdout) if done.returncode == 0 else None
    try:
        ours = await _rendered(item, source, pool)
    except AxletreeError as error:
        said = " ".join(str(error).split())[:200]
        if theirs is None:
            return Outcome("both fail", said)
        return Outcome("refused" if error.reason in _RULES else "differs", f"{error.reason}: {said}")
    if theirs is None and "dependency build" in done.stderr:
        return Outcome("fetched", "its dependencies, which `helm template` would not")
    if theirs is None:
        return Outcome("differs", f"the program alone fails: {' '.join(done.stderr.split())[:200]}")
    differing = sorted(ref for ref in ours.keys() | theirs.keys() if ours.get(ref) != theirs.get(ref))
    if differing:
        return Outcome("differs", ", ".join(differing[:5]))
    return Outcome("equal", f"{len(ours)} objects")


async def _rendered(item: Item, source: dict[str, Any], pool: WorkerPool) -> dict[str, Manifest]:
    url = f"https://github.com/{item.repository}"
    one = {"repoURL": url, "path": item.path, **source}
    spec = ApplicationSpec.model_validate({"cluster": "c", "namespace": NAMESPACE, "sources": [one]})
    inputs = Inputs(DirectorySource({url: item.top}))
    commits = dict.fromkeys(spec.origins(), LOCAL)
    found = await inputs.of("real/real", spec, cluster=ClusterView("c"), commits=commits)
    result = await pool.render(await found.request())
    return {str(ref_of(one)): one for one in result.objects}


def _objects(text: str) -> dict[str, Manifest] | None:
    """What the program printed; None where it is not read as Kubernetes reads it."""
    try:
        found = load_all(text)
    except YamlError:
        return None
    kept = [
        one
        for one in found
        if _TEST not in str(((one.get("metadata") or {}).get("annotations") or {}).get(_HOOK, ""))
    ]
    if not all("metadata" in one for one in kept):
        return None
    return {str(ref_of(one)): one for one in kept}


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
