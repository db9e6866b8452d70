"""Discovery on a real API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig
from agent.kube.discovery import ApiResource, NoMatch, RestMapper

if TYPE_CHECKING:
    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


def _crd(group: str) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [version | {"schema": {"openAPIV3Schema": schema}}],
        },
    }


async def test_built_in_kinds_have_their_paths(api_server: ControlPlane) -> None:
    async with RestClient(load_kubeconfig(api_server.kubeconfig_path), user_agent="axletree-test") as client:
        mapper = RestMapper(client)
        deployment = await mapper.resource("apps/v1", "Deployment")
        assert deployment.path("x", "y") == "/apis/apps/v1/namespaces/x/deployments/y"
        assert {"get", "list", "watch", "patch", "delete"} <= deployment.verbs
        role = await mapper.preferred("rbac.authorization.k8s.io", "ClusterRole")
        assert (role.version, role.namespaced) == ("v1", False)
        assert (await client.get(role.path(name="system:node")))["metadata"]["name"] == "system:node"
        assert (await mapper.preferred("", "Namespace")).path(name="default") == "/api/v1/namespaces/default"
        assert mapper.failed == frozenset()


async def test_a1_a_new_crd_is_found_after_a_refresh(api_server: ControlPlane, namespace: str) -> None:
    group = f"{namespace}.example.com"
    async with RestClient(load_kubeconfig(api_server.kubeconfig_path), user_agent="axletree-test") as client:
        mapper = RestMapper(client)
        with pytest.raises(NoMatch):
            await mapper.resource(f"{group}/v1", "Widget")
        crds = await mapper.preferred("apiextensions.k8s.io", "CustomResourceDefinition")
        crd = _crd(group)
        await client.apply(crds.path(name=crd["metadata"]["name"]), crd, field_manager="me")
        widget = await _until_found(mapper, f"{group}/v1")
        assert widget.path("default") == f"/apis/{group}/v1/namespaces/default/widgets"
        assert await mapper.preferred(group, "Widget") == widget
        await client.delete(crds.path(name=crd["metadata"]["name"]))
        with pytest.raises(NoMatch):
            await _until_gone(mapper, f"{group}/v1")


async def _until_found(mapper: RestMapper, api_version: str) -> ApiResource:
    async with asyncio.timeout(60):
        while True:
            try:
                return await mapper.resource(api_version, "Widget", refresh=True)
            except NoMatch:
                await asyncio.sleep(0.05)


async def _until_gone(mapper: RestMapper, api_version: str) -> None:
    async with asyncio.timeout(60):
        while True:
            await mapper.resource(api_version, "Widget", refresh=True)
            await asyncio.sleep(0.05)
