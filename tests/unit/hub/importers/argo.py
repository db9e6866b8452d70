"""What the tests of the import share: two clusters, and the two ways in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from agent.kube.yaml import load_all
from hub.cli.main import app
from hub.importers.convert import Imported, convert

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = """
apiVersion: v1
kind: Secret
metadata: {name: c1, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, env: prod}}
stringData: {name: eu1, server: "https://eu1:6443", config: "{}"}
---
apiVersion: v1
kind: Secret
metadata: {name: c2, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, env: dev}}
data: {name: bGFiMQ==, server: aHR0cHM6Ly9sYWIxOjY0NDM=}
---
apiVersion: v1
kind: Secret
metadata: {name: other}
stringData: {name: not-a-cluster}
"""


def converted(*texts: str, **more: Any) -> Imported:
    return convert([("f.yaml", obj) for text in texts for obj in load_all(text, source="f.yaml")], **more)


def expanded(tmp_path: Path, text: str) -> tuple[list[dict[str, Any]], str]:
    (tmp_path / "set.yaml").write_text(text)
    (tmp_path / "clusters.yaml").write_text(SECRETS)
    for name in ("one", "two"):
        (tmp_path / "repo" / "addons" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / "addons" / name / "x.yaml").write_text("")
    result = CliRunner().invoke(
        app,
        [
            *("expand", "-f", str(tmp_path / "set.yaml"), "--clusters", str(tmp_path / "clusters.yaml")),
            *("--repo", f"https://git.example.com/shop.git={tmp_path / 'repo'}", "-o", "json"),
        ],
    )
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["items"], result.stderr
