from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from agent.kube.yaml import load_all
from hub.api.application import ApplicationSpec
from hub.core.model import ClusterView
from hub.render.inputs import Inputs
from hub.render.pipeline import RenderResult, Tools, render
from hub.render.plain import ManifestError
from hub.sources.directory import LOCAL, DirectorySource
from hub.sources.errors import SymlinkEscape

if TYPE_CHECKING:
    from pathlib import Path

    from hub.render.programs import Programs

REPO = "https://git.example.com/shop/apps"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}, {name: side, image: "side:1"}]}
"""
FILES = {
    "base/kustomization.yaml": "resources: [web.yaml]\nconfigMapGenerator: [{name: c, files: [a.txt]}]\n",
    "base/web.yaml": DEPLOYMENT,
    "base/a.txt": "text",
    "parts/kustomization.yaml": (
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        "patches: [{target: {kind: Deployment}, "
        'patch: \'[{"op": "add", "path": "/metadata/labels", "value": {"part": "x"}}]\'}]\n'
    ),
    "overlays/eu/kustomization.yml": (
        "resources: [../../base]\ncomponents: [../../parts]\nnamePrefix: eu-\nimages: [{name: web, newTag: '2'}]\n"
        "patches: [{path: patch.yaml}]\n"
    ),
    "overlays/eu/patch.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n",
}


class Repo:
    def __init__(self, top: Path, programs: Programs) -> None:
        self.top = top
        self.programs = programs
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        (self.top / name).parent.mkdir(parents=True, exist_ok=True)
        (self.top / name).write_text(text)

    async def render(self, *sources: dict[str, Any], stages: bool = False, **spec: Any) -> RenderResult:
        model = ApplicationSpec.model_validate(
            {"cluster": "eu1", "sources": [{"repoURL": REPO, **one} for one in sources], **spec}
        )
        inputs = Inputs(DirectorySource({REPO: self.top}))
        commits = dict.fromkeys(model.origins(), LOCAL)
        found = await inputs.of("shop/web", model, cluster=ClusterView("eu1"), commits=commits)
        return render(await found.request(stages=stages), Tools(self.programs))


@pytest.fixture
def repo(tmp_path: Path, programs: Programs) -> Repo:
    return Repo(tmp_path / "repo", programs)


def deployment(result: RenderResult) -> dict[str, Any]:
    return next(one for one in result.objects if one["kind"] == "Deployment")


async def test_an_overlay_gives_what_kustomize_build_prints(repo: Repo) -> None:
    result = await repo.render({"path": "overlays/eu"})
    printed = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [*repo.programs.kustomize, str(repo.top / "overlays/eu")], capture_output=True, text=True, check=True
    )
    assert list(result.objects) == load_all(printed.stdout)
    found = deployment(result)
    assert (found["metadata"]["name"], found["spec"]["replicas"]) == ("eu-web", 3)
    assert found["metadata"]["labels"] == {"part": "x"}


async def test_options_go_on_top(repo: Repo) -> None:
    options = {
        "nameSuffix": "-b",
        "namespace": "other",
        "images": ["side=registry.example.com:5000/side@sha256:" + "0" * 64, "web:7"],
        "replicas": [{"name": "web", "count": 9}],
        "commonLabels": {"team": "x"},
        "commonAnnotations": {"note": "y"},
        "components": ["../parts"],
        "patches": [
            {
                "patch": "- {op: add, path: /spec/paused, value: true}",
                "target": {"kind": "Deployment"},
            }
        ],
    }
    found = deployment(await repo.render({"path": "base", "kustomize": options}))
    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == ("web-b", "other")
    assert found["spec"]["replicas"] == 9
    assert found["spec"]["paused"] is True
    assert found["metadata"]["labels"] == {"part": "x", "team": "x"}
    assert found["metadata"]["annotations"] == {"note": "y"}
    images = [one["image"] for one in found["spec"]["template"]["spec"]["containers"]]
    assert images == ["web:7", "registry.example.com:5000/side@sha256:" + "0" * 64]


async def test_layers_come_in_one_order(repo: Repo) -> None:
    repo.write(
        "over/kustomization.yaml",
        "resources: [rendered.yaml]\nnamePrefix: o-\nreplicas: [{name: web, count: 4}]\n",
    )
    result = await repo.render(
        {"path": "base"},
        overlay={"repoURL": REPO, "path": "over"},
        patches=[
            {"patch": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: o-web}\nspec: {replicas: 5}\n"}
        ],
        common={"labels": {"team": "x"}, "annotations": {"a": "b"}, "namespace": "shop"},
        stages=True,
    )
    assert [stage.name for stage in result.stages] == [
        "kustomize base",
        "overlay over",
        "patches of the Application",
        "common",
    ]
    assert [
        next(one["spec"]["replicas"] for one in stage.objects if one["kind"] == "Deployment")
        for stage in result.stages
    ] == [1, 4, 5, 5]
    found = deployment(result)
    assert found["metadata"]["labels"] == {"team": "x"}
    assert found["metadata"]["namespace"] == "shop"
    assert found["spec"]["selector"] == {"matchLabels": {"app": "web"}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("resources: [https://github.com/o/r//base?ref=v1]\n", "RemoteBaseRefused"),
        ("resources: ['git@github.com:o/r.git']\n", "RemoteBaseRefused"),
        ("resources: ['github.com/o/r/base']\n", "RemoteBaseRefused"),
        ("components: ['ssh://git@h/r']\n", "RemoteBaseRefused"),
        ("resources: ['https://example.com/a.yaml']\n", "RemoteBaseRefused"),
        ("resources: [../../../outside]\n", "KustomizeRefused"),
        ("resources: [/etc]\n", "KustomizeRefused"),
        ("components: [../..]\n", "KustomizeRefused"),
        ("helmCharts: [{name: x, repo: 'https://h'}]\n", "KustomizeRefused"),
        ("helmChartInflationGenerator: [{chartName: x}]\n", "KustomizeRefused"),
        ("resources: [../missing]\n", "PathNotFound"),
        ("resources: [../x]\n", "InvalidManifest"),
        ("configMapGenerator: [{name: c, files: [/etc/passwd]}]\n", "KustomizeFailed"),
        ("configMapGenerator: [{name: c, files: [../secret.txt]}]\n", "KustomizeFailed"),
        ("configMapGenerator: [{name: c, envs: ['https://127.0.0.1:1/x']}]\n", "KustomizeFailed"),
        ("patches: [{path: ../../etc/passwd}]\n", "KustomizeFailed"),
        ("generators: [exec.yaml]\n", "KustomizeFailed"),
        ("generators: [chart.yaml]\n", "KustomizeFailed"),
        ("a: &a [1]\nb: [*a", "InvalidManifest"),
    ],
)
async def test_s6_a_kustomization_stays_inside_and_runs_nothing(repo: Repo, text: str, reason: str) -> None:
    repo.write("x/kustomization.yaml", text)
    repo.write("secret.txt", "secret")
    repo.write(
        "x/exec.yaml",
        "apiVersion: v1\nkind: Gen\nmetadata: {name: g, annotations: {config.kubernetes.io/function: "
        "'{exec: {path: /bin/true}}'}}\n",
    )
    repo.write(
        "x/chart.yaml",
        "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: c}\nname: c\n"
        "repo: https://127.0.0.1:1\n",
    )
    with pytest.raises(ManifestError) as caught:
        await repo.render({"path": "x"})
    assert caught.value.reason == reason, caught.value
    assert str(repo.top) not in str(caught.value)


async def test_s6_a_kustomizations_links_stay_inside(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(DEPLOYMENT)
    repo.write("x/kustomization.yaml", "resources: [a.yaml]\n")
    (repo.top / "x" / "a.yaml").symlink_to(tmp_path / "secret.yaml")
    with pytest.raises(SymlinkEscape):
        await repo.render({"path": "x"})


async def test_an_options_component_stays_inside(repo: Repo) -> None:
    with pytest.raises(ManifestError) as caught:
        await repo.render({"path": "base", "kustomize": {"components": ["../../up"]}})
    assert caught.value.reason == "KustomizeRefused"


async def test_only_what_a_build_reads_counts(repo: Repo) -> None:
    model = ApplicationSpec.model_validate(
        {"cluster": "eu1", "sources": [{"repoURL": REPO, "path": "overlays/eu"}]}
    )

    async def identity() -> object:
        inputs = Inputs(DirectorySource({REPO: repo.top}))
        found = await inputs.of(
            "shop/web", model, cluster=ClusterView("eu1"), commits=dict.fromkeys(model.origins(), LOCAL)
        )
        return found.identity()

    before = await identity()
    repo.write("elsewhere/x.yaml", "a: 1\n")
    assert await identity() == before
    repo.write("base/a.txt", "other")
    changed = await identity()
    assert changed != before
    repo.write("parts/kustomization.yaml", FILES["parts/kustomization.yaml"] + "# more\n")
    assert await identity() not in (before, changed)


async def test_without_a_program_it_says_what_to_do(repo: Repo) -> None:
    repo.programs = type(repo.programs)()
    with pytest.raises(ManifestError, match="there is no kustomize here"):
        await repo.render({"path": "base"})


async def test_errors_name_the_file_the_layer_and_what_it_was_given(repo: Repo) -> None:
    repo.write("over/kustomization.yaml", "resources: [../base, ../nope]\n")
    with pytest.raises(ManifestError) as caught:
        await repo.render({"path": "over"})
    assert (caught.value.reason, caught.value.file, caught.value.layer) == (
        "PathNotFound",
        "over/kustomization.yaml",
        "kustomize",
    )
    assert "it names nope" in str(caught.value)
    patch = {"target": {"kind": "Deployment"}, "patch": '[{"op": "replace", "path": "/data/x", "value": 1}]'}
    with pytest.raises(ManifestError) as caught:
        await repo.render({"path": "base"}, setPatches=[patch])
    assert caught.value.layer == "patches of the ApplicationSet"
    assert "/data/x" in caught.value.params
