"""What generators read of the hub's own cluster, on a real API server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.errors import ApiError
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from hub.core.needs import ExternalNeed
from hub.generators.external import MATCH_KEY
from hub.hosts.ask import Asker, Asking
from hub.hosts.errors import HostMisconfigured, HostUnreachable
from hub.hosts.objects import KubeObjects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster
GROUP = "cluster.open-cluster-management.io"
DECISIONS = "placementdecisions"


@pytest.fixture
async def client(api_server: ControlPlane) -> AsyncIterator[RestClient]:
    config = load_kubeconfig(api_server.kubeconfig_path)
    async with RestClient(config, user_agent="axletree-test") as made:
        yield made


async def _define(client: RestClient) -> None:
    """The part of Open Cluster Management's CRD that matters here."""
    crd: dict[str, Any] = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{DECISIONS}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": DECISIONS, "singular": "placementdecision", "kind": "PlacementDecision"},
            "versions": [
                {
                    "name": "v1beta1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    },
                }
            ],
        },
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await client.apply(f"{path}/{DECISIONS}.{GROUP}", crd, field_manager="tests")
    async with asyncio.timeout(30):
        while True:
            try:
                await client.list(f"/apis/{GROUP}/v1beta1/{DECISIONS}")
            except ApiError:
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.parametrize("kind", [DECISIONS, "PlacementDecision"])
async def test_a_placement_decision_is_read_as_its_controller_writes_it(
    client: RestClient, namespace: str, kind: str
) -> None:
    await _define(client)
    await client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    asker = Asker(KubeObjects(client, lambda _: None), clock=lambda: 0.0)
    selector = {"matchLabels": {f"{GROUP}/placement": "web"}}
    need = ExternalNeed(
        "clusterDecisionResource", json.dumps({"configMapRef": "ocm", "labelSelector": selector})
    )

    async def ask(set_name: str) -> list[dict[str, Any]]:
        return await asker.answer(need, Asking(namespace, set_name))

    with pytest.raises(HostMisconfigured, match="there is no ConfigMap"):
        await ask("a")
    data = {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": kind,
        "statusListKey": "decisions",
        "matchKey": "clusterName",
    }
    config = {"metadata": {"name": "ocm"}, "data": data}
    await client.create(f"/api/v1/namespaces/{namespace}/configmaps", config)
    with pytest.raises(HostUnreachable, match="that is meant"):
        await ask("b")
    path = f"/apis/{GROUP}/v1beta1/namespaces/{namespace}/{DECISIONS}"
    labels = {f"{GROUP}/placement": "web"}
    obj = {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "PlacementDecision",
        "metadata": {"name": "web-1", "labels": labels},
    }
    await client.create(path, obj)
    with pytest.raises(HostUnreachable, match=r"no status\.decisions yet"):
        await ask("c")
    status = {"status": {"decisions": [{"clusterName": "eu1", "reason": ""}]}}
    await client.merge_patch(f"{path}/web-1", status, subresource="status")
    assert await ask("d") == [{"clusterName": "eu1", "reason": "", MATCH_KEY: "eu1"}]
    await asker.close()
