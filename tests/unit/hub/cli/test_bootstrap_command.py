from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agent.kube.yaml import load_all
from hub.cli.bootstrap import BootstrapInvalid, _secrets
from hub.cli.main import app
from hub.sources.credentials import GitCredentials

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

REPO = "https://git.example.com/fleet.git"


def axle(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bootstrap", "--repo", REPO, *arguments], env={"COLUMNS": "200"})


def test_files_to_begin_with_are_written_and_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text("mine: true\n")
    said = axle("--path", "hub", "--write", str(tmp_path), "--host", "hub.example.com", "--image", "r/hub")
    assert said.exit_code == 0, said.output
    assert "is there already" in said.output
    assert "axle bootstrap --repo" in said.output
    assert (tmp_path / "project.yaml").read_text() == "mine: true\n"
    (hub,) = load_all((tmp_path / "hub.yaml").read_text(), source="hub.yaml")
    (source,) = hub["spec"]["sources"]
    assert source["helm"]["values"] == {"hosts": ["hub.example.com"], "image": {"repository": "r/hub"}}
    for chart in ("axletree-hub", "axletree-agent"):
        assert (tmp_path / "charts" / chart / "Chart.yaml").exists()


def test_the_cluster_is_named_by_whoever_means_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    said = axle()
    assert said.exit_code == 2
    assert "BootstrapInvalid" in said.output
    assert "--kubeconfig" in said.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repo", "/srv/fleet"], "RepositoryRefused: '/srv/fleet': not an http, https or ssh address"),
        (["--revision", "a b"], "RevisionRefused: 'a b' is not the name of a branch"),
        (["--path", "../up"], "PathRefused: '../up': a path may not climb"),
        (["--kubeconfig", "/nonexistent"], "KubeconfigInvalid: kubeconfig /nonexistent: No such file"),
    ],
)
def test_what_cannot_be_right_is_told_before_anything_is_fetched(arguments: list[str], words: str) -> None:
    said = axle("--kubeconfig", "/nonexistent", *arguments)
    assert (said.exit_code, said.stderr.count("\n")) == (2, 1)
    assert words in said.stderr


def test_files_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = axle("--write", str(tmp_path / "file" / "hub"))
    assert (said.exit_code, said.stderr.count("\n")) == (2, 1)
    assert f"axle: FileFailed: {tmp_path}/file/hub: Not a directory" in said.stderr


SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: git, labels: {axletree.dev/credentials: git}}
stringData: {url: "https://git.example.com", password: hush}
"""


def test_credentials_are_read_as_the_hub_will_read_them(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(SECRET)
    (secret,) = found = _secrets(path)
    assert secret["metadata"]["namespace"] == "axletree-system"
    assert base64.b64decode(secret["data"]["password"]) == b"hush"
    assert "stringData" not in secret
    assert GitCredentials.of(found).granted("axletree-system").match(REPO) is not None
    assert _secrets(None) == []
    path.write_text(SECRET.replace("axletree.dev/credentials", "other"))
    with pytest.raises(BootstrapInvalid, match="label") as wrong:
        _secrets(path)
    assert "hush" not in str(wrong.value)
    with pytest.raises(BootstrapInvalid, match="read"):
        _secrets(tmp_path / "none")
