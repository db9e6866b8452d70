from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.kube.discovery import ApiResource, GroupUnavailable, NoMatch, PathInvalid, RestMapper

if TYPE_CHECKING:
    from agent.kube.client import RestClient

APPS = {
    "kind": "APIResourceList",
    "groupVersion": "apps/v1",
    "resources": [
        {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["get", "list"]},
        {
            "name": "deployments/scale",
            "kind": "Scale",
            "group": "autoscaling",
            "namespaced": True,
            "verbs": ["get"],
        },
    ],
}


class Api:
    def __init__(self, kube: Any) -> None:
        self.answers: dict[str, Any] = {"/apis/apps/v1": APPS}
        self._kube = kube

    async def handle(self, request: web.Request) -> Any:
        await asyncio.sleep(0.01)
        answer = self.answers.get(request.path, 404)
        return self._kube.status(answer, "Reason") if isinstance(answer, int) else web.json_response(answer)


@pytest.fixture
def api(server: Any, kube: Any) -> Api:
    made = Api(kube)
    server.handler = made.handle
    return made


@pytest.fixture
def mapper(client: RestClient) -> RestMapper:
    return RestMapper(client)


def _widgets(version: str) -> dict[str, Any]:
    entry = {"name": "widgets", "kind": "Widget", "namespaced": False, "verbs": ["get"]}
    return {"kind": "APIResourceList", "groupVersion": f"example.com/{version}", "resources": [entry]}


async def test_a_group_version_is_asked_once_by_any_number(api: Api, server: Any, mapper: RestMapper) -> None:
    found = await asyncio.gather(*(mapper.resource("apps/v1", "Deployment") for _ in range(20)))
    assert server.seen == [("GET", "/apis/apps/v1")]
    assert found[0] == ApiResource(
        "apps", "v1", "Deployment", "deployments", namespaced=True, verbs=frozenset({"get", "list"})
    )
    assert found[0].api_version == "apps/v1"


async def test_who_gives_up_does_not_take_the_question_along(
    api: Api, server: Any, mapper: RestMapper
) -> None:
    first = asyncio.create_task(mapper.resource("apps/v1", "Deployment"))
    second = asyncio.create_task(mapper.resource("apps/v1", "Deployment"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).plural == "deployments"
    assert len(server.seen) == 1


async def test_a_subresource_is_no_kind(api: Api, mapper: RestMapper) -> None:
    with pytest.raises(NoMatch):
        await mapper.resource("apps/v1", "Scale")


async def test_a1_a_new_kind_is_found_after_a_refresh(api: Api, server: Any, mapper: RestMapper) -> None:
    with pytest.raises(NoMatch, match=r"no Widget in example\.com/v1"):
        await mapper.resource("example.com/v1", "Widget")
    api.answers["/apis/example.com/v1"] = _widgets("v1")
    with pytest.raises(NoMatch):
        await mapper.resource("example.com/v1", "Widget")  # an absence holds for some seconds: no hot loop
    assert len(server.seen) == 1
    assert (await mapper.resource("example.com/v1", "Widget", refresh=True)).plural == "widgets"
    await mapper.resource("example.com/v1", "Widget")
    assert len(server.seen) == 2
    mapper.forget("example.com")
    await mapper.resource("example.com/v1", "Widget")
    assert len(server.seen) == 3


async def test_a6_f37_a_failing_group_is_unavailable_not_absent(api: Api, mapper: RestMapper) -> None:
    api.answers["/apis/metrics.example.com/v1"] = 503
    with pytest.raises(GroupUnavailable) as caught:
        await mapper.resource("metrics.example.com/v1", "PodMetrics")
    assert caught.value.retry_after
    assert mapper.failed == {"metrics.example.com"}
    await mapper.resource("apps/v1", "Deployment")
    api.answers["/apis/metrics.example.com/v1"] = _widgets("v1")
    await mapper.resource("metrics.example.com/v1", "Widget", refresh=True)
    assert mapper.failed == frozenset()


async def test_f37_what_was_known_survives_a_failing_refresh(api: Api, mapper: RestMapper) -> None:
    await mapper.resource("apps/v1", "Deployment")
    api.answers["/apis/apps/v1"] = 503
    assert (await mapper.resource("apps/v1", "Deployment", refresh=True)).plural == "deployments"
    assert mapper.failed == {"apps"}
    with pytest.raises(GroupUnavailable):
        await mapper.resource("apps/v1", "DaemonSet")


async def test_a8_the_preferred_version_comes_first(api: Api, mapper: RestMapper) -> None:
    api.answers |= {
        "/apis/example.com": {
            "preferredVersion": {"groupVersion": "example.com/v2"},
            "versions": [{"groupVersion": "example.com/v1"}, {"groupVersion": "example.com/v2"}],
        },
        "/apis/example.com/v1": {
            "resources": [*_widgets("v1")["resources"], {"name": "olds", "kind": "Old"}]
        },
        "/apis/example.com/v2": _widgets("v2"),
        "/api/v1": {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]},
    }
    assert (await mapper.preferred("example.com", "Widget")).version == "v2"
    assert (await mapper.preferred("example.com", "Old")).version == "v1"
    assert (await mapper.preferred("", "ConfigMap")).path("x", "y") == "/api/v1/namespaces/x/configmaps/y"
    with pytest.raises(NoMatch):
        await mapper.preferred("example.com", "New")
    with pytest.raises(NoMatch):
        await mapper.preferred("other.example.com", "New")


def test_paths_are_escaped() -> None:
    deployment = ApiResource("apps", "v1", "Deployment", "deployments", namespaced=True, verbs=frozenset())
    node = ApiResource("", "v1", "Node", "nodes", namespaced=False, verbs=frozenset())
    assert deployment.path() == "/apis/apps/v1/deployments"
    assert deployment.path("x") == "/apis/apps/v1/namespaces/x/deployments"
    assert deployment.path("x", "y", "scale") == "/apis/apps/v1/namespaces/x/deployments/y/scale"
    assert node.path("ignored", "system:node") == "/api/v1/nodes/system:node"
    assert node.path(name="a/../b?c#d e\r\n") == "/api/v1/nodes/a%2F..%2Fb%3Fc%23d%20e%0D%0A"
    with pytest.raises(PathInvalid):
        node.path(name="..")
