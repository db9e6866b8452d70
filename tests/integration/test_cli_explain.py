"""`axle explain` of what a hub has: the API server takes the fields, and the story is told from there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from hub.cli.kinds import APPS, CLUSTERS
from hub.cli.main import app
from hub.fleet import install

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster

REPO = "https://git.example.com/shop/apps"
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, annotations: {kube: {{ .Capabilities.KubeVersion.Version | quote }}}}
spec: {replicas: {{ .Values.replicas }}}
"""


def test_explain_reads_the_application_and_its_cluster_from_the_hub(
    api_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    chart = tmp_path / "repo" / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("replicas: 1\n")
    (chart / "templates" / "web.yaml").write_text(TEMPLATE)
    cluster = f"{namespace}-eu1"

    async def prepare() -> None:
        async with RestClient(load_kubeconfig(api_server.kubeconfig_path), user_agent="t") as client:
            await install.install_hub(client)
            await install.apply_all(
                client,
                [
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
                    {
                        "apiVersion": "axletree.dev/v1alpha1",
                        "kind": "Cluster",
                        "metadata": {"name": cluster},
                        "spec": {"accepted": True, "values": {"web": {"replicas": 5}}},
                    },
                ],
            )
            await client.merge_patch(
                CLUSTERS.path(name=cluster),
                {"status": {"agent": {"kubernetesVersion": "v1.30.2"}}},
                subresource="status",
            )
            source = {
                "repoURL": REPO,
                "path": "chart",
                "helm": {"values": "replicas: 3\n", "clusterValues": "web"},
            }
            obj = {
                "apiVersion": "axletree.dev/v1alpha1",
                "kind": "Application",
                "metadata": {"name": "web", "namespace": namespace},
                "spec": {
                    "cluster": cluster,
                    "sources": [source],
                    "patches": [{"patch": "[]", "target": {"kind": "Nothing"}}],
                    "common": {"labels": {"team": "web"}},
                },
            }
            await client.apply(APPS.path(namespace, "web"), obj, field_manager="tests")

    asyncio.run(prepare())
    env = {"AXLETREE_KUBECONFIG": str(api_server.kubeconfig_path), "AXLETREE_HOME": "/nonexistent"}
    repo = f"{REPO}={tmp_path / 'repo'}"

    def explain(field: str) -> list[dict[str, object]]:
        arguments = ["explain", "web", "deployment/web", field, "-n", namespace, "--repo", repo, "-o", "json"]
        result = CliRunner().invoke(app, arguments, env=env)
        assert result.exit_code == 0, result.output
        found: list[dict[str, object]] = json.loads(result.stdout)
        return found

    assert [(one["stage"], one["after"], one["at"]) for one in explain(".spec.replicas")] == [
        ("chart defaults", 1, "values.yaml:1"),
        ("helm.values", 3, "helm.values:1"),
        (f"cluster {cluster}: values.web", 5, f"Cluster {cluster} .spec.values.web.replicas"),
    ]
    assert explain(".metadata.annotations.kube")[0]["after"] == "v1.30.2"
