from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.kube.yaml import load_all
from hub.cli.main import app
from hub.fleet.tools import ensure_tools

FEATURES = Path(__file__).parents[1] / "render" / "charts" / "features"
REPO = "https://git.example.com/shop/apps"
CONFIG = "https://git.example.com/shop/config"
APP = f"""
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {{name: eu1}}
spec: {{values: {{shop: {{labels: {{region: eu}}}}}}}}
---
apiVersion: axletree.dev/v1alpha1
kind: Application
metadata: {{name: web, namespace: shop}}
spec:
  cluster: eu1
  namespace: shop-web
  sources:
    - repoURL: {REPO}
      path: features
      helm:
        releaseName: front
        valueFiles: [values-prod.yaml, $config/eu1.yaml, nope.yaml]
        ignoreMissingValueFiles: true
        values: {{ports: [8080]}}
        clusterValues: shop
        parameters: [{{name: image.tag, value: "3"}}]
    - {{repoURL: {CONFIG}, ref: config}}
  common: {{labels: {{team: web}}}}
"""
ARGO = f"""
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: web, namespace: argocd}}
spec:
  project: shop
  destination: {{name: eu1, namespace: shop-web}}
  sources:
    - repoURL: {REPO}
      targetRevision: main
      path: features
      helm:
        releaseName: front
        valueFiles: [values-prod.yaml, $config/eu1.yaml]
        values: |
          ports: [8080]
        parameters: [{{name: image.tag, value: "3"}}]
    - {{repoURL: {CONFIG}, targetRevision: main, ref: config}}
"""
runner = CliRunner()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    shutil.copytree(FEATURES, tmp_path / "apps" / "features")
    (tmp_path / "apps" / "features" / "values-prod.yaml").write_text("replicas: 3\nlabels: {env: prod}\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "eu1.yaml").write_text("# of eu1\nreplicas: 6\n")
    (tmp_path / "app.yaml").write_text(APP)
    (tmp_path / "argo.yaml").write_text(ARGO)
    repos = ["--repo", f"{REPO}={tmp_path / 'apps'}", "--repo", f"{CONFIG}={tmp_path / 'config'}"]
    return ["-f", str(tmp_path / "app.yaml"), *repos]


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_render_prints_manifests(files: list[str]) -> None:
    found = {f"{one['kind']}/{one['metadata']['name']}": one for one in load_all(run("render", *files))}
    deployment = found["Deployment/front-features"]
    assert deployment["spec"]["replicas"] == 6
    assert deployment["metadata"]["labels"]["env"] == "prod"
    assert deployment["metadata"]["labels"]["region"] == "eu"
    assert deployment["metadata"]["labels"]["team"] == "web"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith(":3")
    assert container["ports"] == [{"containerPort": 8080}]
    listed = json.loads(run("render", *files, "-o", "json"))
    assert listed["kind"] == "List"
    assert "deployment/front-features" in run("render", *files, "-o", "name")


def test_an_argo_cd_application_is_taken_as_it_is(files: list[str]) -> None:
    argo = ["-f", files[1].replace("app.yaml", "argo.yaml"), *files[2:]]
    theirs = {one["metadata"]["name"]: one for one in load_all(runner.invoke(app, ["render", *argo]).stdout)}
    ours = {one["metadata"]["name"]: one for one in load_all(run("render", *files))}
    assert theirs.keys() == ours.keys()
    for name, one in ours.items():
        for label in ("team", "region"):
            one["metadata"].get("labels", {}).pop(label, None)
        if not one["metadata"].get("labels", True):
            del one["metadata"]["labels"]
        assert theirs[name] == one


def test_stages_and_their_differences(files: list[str]) -> None:
    stages = [line for line in run("render", *files, "--stages").splitlines() if line.startswith("# shop/")]
    assert [line.partition(", ")[2] for line in stages] == [
        "chart defaults",
        "values-prod.yaml",
        "$config/eu1.yaml",
        "helm.values",
        "cluster eu1: values.shop",
        "helm.parameters",
        "common",
    ]
    difference = run("render", *files, "--diff", "2", "$config/eu1.yaml", code=1)
    assert "-  replicas: 3" in difference
    assert "+  replicas: 6" in difference
    assert run("render", *files, "--diff", "3", "3") == ""
    assert "is none of these" in run("render", *files, "--diff", "3", "nope", code=2)


def test_explain_tells_each_layer_with_file_and_line(files: list[str]) -> None:
    text = run("explain", "web", "deployment/front-features", ".spec.replicas", *files, "-o", "json")
    assert json.loads(text) == [
        {"stage": "chart defaults", "field": ".spec.replicas", "after": 2, "at": "values.yaml:1"},
        {
            "stage": "values-prod.yaml",
            "field": ".spec.replicas",
            "before": 2,
            "after": 3,
            "at": "values-prod.yaml:1",
        },
        {
            "stage": "$config/eu1.yaml",
            "field": ".spec.replicas",
            "before": 3,
            "after": 6,
            "at": "$config/eu1.yaml:2",
        },
    ]
    assert ".spec.replicas: 3 -> 6" in run("explain", "shop/web", "Deployment/front-features", *files)


def test_explain_names_the_object_that_says_it(files: list[str]) -> None:
    """By file and line, where it is in one: of the Cluster, and of the Application."""

    def places(field: str) -> list[tuple[str, str]]:
        text = run("explain", "web", "deployment/front-features", field, *files, "-o", "json")
        return [(one["stage"], one["at"]) for one in json.loads(text)]

    lines = ["", *APP.splitlines()]
    at = {
        name: next(n for n, line in enumerate(lines) if name in line)
        for name in ("region", "parameters", "team")
    }
    assert places(".metadata.labels.region") == [("cluster eu1: values.shop", f"{files[1]}:{at['region']}")]
    assert places(".metadata.labels.team")[-1] == ("common", f"{files[1]}:{at['team']}")
    image = places(".spec.template.spec.containers[0].image")
    assert image[-1] == ("helm.parameters", f"{files[1]}:{at['parameters']}")


def test_i5_explain_says_no_secret_value(files: list[str]) -> None:
    text = run("explain", "web", "secret/front-secret", *files)
    assert "(secret)" in text
    assert "none\n" not in text.replace("(none)", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("web", "deployment/nope"), "there is no deployment/nope"),
        (("web", "deployment/front-features", ".spec.nope"), "no layer has it"),
        (("web", "nonsense"), "write KIND/NAME"),
        (("web", "deployment/front-features", "a[["), "is no path of a field"),
        (("other", "deployment/front-features"), "there is no Application other"),
    ],
)
def test_explain_says_what_is_wrong(files: list[str], arguments: tuple[str, ...], message: str) -> None:
    assert message in run("explain", *arguments, *files, code=2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("$config/eu1.yaml", "$other/eu1.yaml", "UnknownRef"),
        ("$config/eu1.yaml", "$config/../eu1.yaml", "PathRefused"),
        ("values-prod.yaml,", "../../up.yaml,", "PathRefused"),
        ("ignoreMissingValueFiles: true", "ignoreMissingValueFiles: false", "PathNotFound"),
        ("clusterValues: shop", "clusterValues: shop.labels.region", "InvalidClusterValues"),
        ("name: image.tag", "name: 'image..tag'", "InvalidParameter"),
    ],
)
def test_s6_values_stay_in_their_repository(files: list[str], old: str, new: str, message: str) -> None:
    path = Path(files[1])
    path.write_text(path.read_text().replace(old, new))
    assert message in run("render", *files, code=2)


def test_s6_a_values_file_may_not_be_a_link_outside(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("replicas: 9\n")
    (tmp_path / "config" / "eu1.yaml").unlink()
    (tmp_path / "config" / "eu1.yaml").symlink_to(tmp_path / "secret.yaml")
    assert "SymlinkEscape" in run("render", *files, code=2)


def test_s7_f33_what_ends_its_worker_costs_one_line(tmp_path: Path) -> None:
    """A source may be anybody's, and this be where a change of it is looked at."""
    (tmp_path / "app.yaml").write_text(
        "apiVersion: axletree.dev/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: shop}\n"
        f"spec: {{cluster: eu1, namespace: shop-web, sources: [{{repoURL: {REPO}, path: large}}]}}\n"
    )
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "all.jsonnet").write_text("std.range(1, 1000000000)")
    command = ["render", "-f", str(tmp_path / "app.yaml"), "--repo", f"{REPO}={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli.main", *command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"axle: RenderCrashed: {REPO}@local:large: its worker ended ")
    assert "fatal error: out of memory; it may take 512 MB" in line


def test_a_chart_of_a_repository_is_read_from_a_folder(tmp_path: Path) -> None:
    shutil.copytree(FEATURES, tmp_path / "chart")
    address = "https://charts.example.com/stable"
    path = tmp_path / "app.yaml"
    path.write_text(
        "apiVersion: axletree.dev/v1alpha1\nkind: Application\nmetadata: {name: web, namespace: shop}\nspec:\n"
        f"  cluster: eu1\n  sources: [{{repoURL: {address}, chart: features, revision: ^1.0}}]\n"
    )
    text = run("render", "-f", str(path), "--repo", f"{address}#features={tmp_path / 'chart'}", "-o", "name")
    assert "deployment/web-features" in text.splitlines()
    assert "map it with --repo URL=DIR" in run("render", "-f", str(path), code=2)


SET = f"""
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {{name: eu1}}
---
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {{name: web, namespace: shop}}
spec:
  generators: [{{clusters: {{}}}}]
  patches:
    - patch: |
        apiVersion: apps/v1
        kind: Deployment
        metadata: {{name: web, annotations: {{from: set, on: "{{{{ cluster.name }}}}"}}}}
    - target: {{kind: Deployment}}
      patch: '[{{"op": "replace", "path": "/spec/replicas", "value": 7}}]'
  template:
    metadata: {{name: "web-{{{{ cluster.name }}}}"}}
    spec:
      cluster: "{{{{ cluster.name }}}}"
      sources: [{{repoURL: {REPO}, path: plain}}]
      patches:
        - target: {{kind: Deployment}}
          patch: '[{{"op": "replace", "path": "/spec/replicas", "value": 5}}]'
        - patch: '{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "web",
            "annotations": {{"from": "application"}}}}}}'
      common: {{annotations: {{last: common}}}}
"""


def test_patches_of_the_application_then_of_the_set_then_what_is_common(tmp_path: Path) -> None:
    asyncio.run(ensure_tools())
    (tmp_path / "apps" / "plain").mkdir(parents=True)
    (tmp_path / "apps" / "plain" / "web.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1}\n"
    )
    (tmp_path / "set.yaml").write_text(SET)
    files = ["-f", str(tmp_path / "set.yaml"), "--repo", f"{REPO}={tmp_path / 'apps'}"]
    (deployment,) = load_all(run("render", *files))
    assert deployment["spec"]["replicas"] == 7
    assert deployment["metadata"]["annotations"] == {"from": "set", "on": "eu1", "last": "common"}

    def told(field: str) -> list[tuple[str, object, str]]:
        found = json.loads(run("explain", "web-eu1", "deployment/web", field, *files, "-o", "json"))
        return [(one["stage"], one["after"], one.get("at", "")) for one in found]

    assert told(".spec.replicas") == [
        ("files", 1, "web.yaml:4"),
        ("patches of the Application", 5, "Application shop/web-eu1 .spec.patches"),
        ("patches of the ApplicationSet", 7, "Application shop/web-eu1 .spec.setPatches"),
    ]
    stages = [one[0] for one in told("")]
    assert list(dict.fromkeys(stages))[-1] == "common"


def test_i5_stages_and_differences_tell_no_value_of_a_secret(tmp_path: Path) -> None:
    """What was there to be applied holds them, as it must."""
    secret = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {password: %s, user: same-user}\n"
    )
    patch = "- {op: replace, path: /stringData/password, value: later-word}"
    app = {
        "apiVersion": "axletree.dev/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "cluster": "eu1",
            "namespace": "shop-web",
            "sources": [{"repoURL": REPO, "path": "web"}],
            "patches": [{"patch": patch, "target": {"kind": "Secret"}}],
        },
    }
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "s.yaml").write_text(secret % ("s", "first-word"))
    (tmp_path / "app.json").write_text(json.dumps(app))
    files = ["-f", str(tmp_path / "app.json"), "--repo", f"{REPO}={tmp_path}"]
    assert "later-word" in run("render", *files)
    told = [run("render", *files, "--stages"), run("render", *files, "--stages", "-o", "json")]
    told.append(run("render", *files, "--diff", "1", "2", code=1))
    for text in told:
        assert not [word for word in ("first-word", "later-word", "same-user") if word in text]
    assert [line[:12] for line in told[2].splitlines() if "(secret" in line and line[0] in "+-"] == [
        "-  password:",
        "+  password:",
    ]
