from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from agent.kube.served import served_versions

if TYPE_CHECKING:
    from agent.kube.client import RestClient


def _group(name: str, version: str, *kinds: str) -> dict[str, Any]:
    resources = [{"resource": kind.lower(), "responseKind": {"kind": kind}} for kind in kinds]
    return {
        "metadata": {"name": name},
        "versions": [{"version": version, "resources": [*resources, {"resource": "x"}]}],
    }


async def test_kinds_are_told_where_they_are_not_kubernetes_own(server: Any, client: RestClient) -> None:
    groups = [_group("apps", "v1", "Deployment"), _group("networking.k8s.io", "v1", "Ingress")]
    groups += [_group("monitoring.example.com", "v1", "ServiceMonitor")]
    groups += [_group("gateway.networking.k8s.io", "v1", "Gateway")]

    async def answer(request: web.Request) -> web.Response:
        assert "APIGroupDiscoveryList" in request.headers["Accept"]
        return web.json_response({"kind": "APIGroupDiscoveryList", "items": groups})

    server.handler = answer
    assert await served_versions(client) == (
        "apps/v1",
        "gateway.networking.k8s.io/v1",
        "gateway.networking.k8s.io/v1/Gateway",
        "monitoring.example.com/v1",
        "monitoring.example.com/v1/ServiceMonitor",
        "networking.k8s.io/v1",
        "v1",
    )


async def test_an_old_api_server_tells_groups_only(server: Any, client: RestClient) -> None:
    groups = [{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}]

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"kind": "APIGroupList", "groups": groups})

    server.handler = answer
    assert await served_versions(client) == ("apps/v1", "v1")


async def test_past_the_bound_kinds_are_left_out(server: Any, client: RestClient) -> None:
    many = _group("many.example.com", "v1", *(f"Kind{at}" for at in range(3000)))

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"items": [many]})

    server.handler = answer
    assert await served_versions(client) == ("many.example.com/v1", "v1")
