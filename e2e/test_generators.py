"""Previews: a set whose children come and go with the pull requests of a Git host."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.contract.errors import ApiError
from agent.contract.names import ANNOTATION_REFRESH, API_VERSION
from e2e.words import APPS, CONFIG_MAPS, NAMESPACES, PROJECTS, SETS, condition, one

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
SET = "previews/previews"


class GitHub:
    """Answers the open pull requests of one repository, or that it is broken."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self.broken = False

    async def pulls(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.Response(status=500, text="<html>sorry</html>", headers={"Retry-After": "1"})
        assert request.headers["Authorization"] == "Bearer t0ken"
        found = [
            {
                "number": number,
                "title": f"change {number}",
                "head": {"ref": f"feature/{number}", "sha": "0123456789abcdef"},
                "base": {"ref": "main"},
                "labels": [{"name": "preview"}],
                "user": {"login": "ann"},
            }
            for number in self.open
        ]
        return web.json_response(found)


@contextlib.asynccontextmanager
async def _previews(rig: Rig, host: GitHub, *, allowed: bool = True) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/repos/shop/web/pulls", host.pulls)
    async with TestServer(app) as server:
        base = str(server.make_url("")).rstrip("/")
        for path, obj in _objects(rig, base, hosts=[base] if allowed else []).items():
            await rig.hub.client.apply(path, obj, field_manager="tests", force=True)
        try:
            yield
        finally:
            await _gone(rig)


def _objects(rig: Rig, base: str, *, hosts: list[str]) -> dict[str, dict[str, Any]]:
    namespaced = {"namespace": "previews"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "labels": {"axletree.dev/credentials": "generator"}, **namespaced},
        "stringData": {"token": "t0ken"},
    }
    project = {
        "apiVersion": API_VERSION,
        "kind": "Project",
        "metadata": {"name": "project", **namespaced},
        "spec": {
            "sourceRepos": [rig.fleet.repo_url],
            "generatorHosts": hosts,
            "destinations": [{"clusters": ["eu1"], "namespaces": ["shop-*"]}],
            "serviceAccount": "shop-deployer",
        },
    }
    github = {
        "owner": "shop",
        "repo": "web",
        "api": base,
        "tokenRef": {"secretName": "token", "key": "token"},
    }
    previews = {
        "apiVersion": API_VERSION,
        "kind": "ApplicationSet",
        "metadata": {"name": "previews", **namespaced},
        "spec": {
            "generators": [{"pullRequest": {"github": {**github, "labels": ["preview"]}}}],
            "template": {
                "metadata": {"name": "preview-{{ number }}", "labels": {"author": "{{ author }}"}},
                "spec": {
                    "cluster": "eu1",
                    "namespace": "shop-preview-{{ number }}",
                    "sources": [
                        {"repoURL": rig.fleet.repo_url, "revision": "main", "path": "dev/playground"}
                    ],
                    "sync": {"createNamespace": True},
                },
            },
        },
    }
    return {
        one(NAMESPACES, "previews"): {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "previews"},
        },
        one("/api/v1/secrets", "previews/token"): secret,
        one(PROJECTS, "previews/project"): project,
        one(SETS, SET): previews,
    }


async def _gone(rig: Rig) -> None:
    with contextlib.suppress(ApiError):
        await rig.hub.client.delete(one(SETS, SET))

    def empty() -> None:
        assert rig.hub.get(SETS, SET) is None
        assert not [key for key in rig.hub.all(APPS) if key.startswith("previews/")]

    await rig.hub.eventually(empty)
    await rig.hub.client.delete(one(PROJECTS, "previews/project"))
    await rig.hub.client.delete(one(NAMESPACES, "previews"))

    def clean() -> None:
        assert rig.hub.get(NAMESPACES, "previews") is None

    await rig.hub.eventually(clean)


async def _refresh(rig: Rig) -> None:
    patch = {"metadata": {"annotations": {ANNOTATION_REFRESH: uuid.uuid4().hex}}}
    await rig.hub.client.merge_patch(one(SETS, SET), patch)


def _running(rig: Rig, *numbers: int) -> None:
    assert sorted(rig.children(SET)) == [f"previews/preview-{number}" for number in numbers]
    for number in numbers:
        rig.live(f"previews/preview-{number}")
    there = {name for name in rig.spokes["eu1"].all(CONFIG_MAPS) if name.startswith("shop-preview-")}
    ours = {name for name in there if not name.endswith("/kube-root-ca.crt")}
    assert {name.partition("/")[0] for name in ours} == {f"shop-preview-{number}" for number in numbers}


async def test_f11_previews_come_and_go_with_their_requests_and_a_broken_host_ends_none(rig: Rig) -> None:
    host = GitHub()
    host.open = [1, 2]
    async with _previews(rig, host):
        await rig.hub.eventually(lambda: _running(rig, 1, 2))
        assert rig.app("previews/preview-1")["metadata"]["labels"]["author"] == "ann"

        host.broken = True
        await _refresh(rig)

        def told() -> None:
            text = json.dumps(rig.set(SET)["status"]["conditions"])
            assert "HostUnreachable" in text, text

        await rig.hub.eventually(told)
        _running(rig, 1, 2)

        host.broken, host.open = False, [2, 3]

        def changed() -> None:
            _running(rig, 2, 3)
            assert condition(rig.set(SET), "Ready").get("status") == "True"

        await _refresh(rig)
        await rig.hub.eventually(changed)


async def test_s11_a_set_asks_nobody_whom_its_project_does_not_name(rig: Rig) -> None:
    host = GitHub()
    host.open = [1]
    async with _previews(rig, host, allowed=False):

        def refused() -> None:
            stalled = condition(rig.set(SET), "Stalled")
            assert (stalled.get("status"), stalled.get("reason")) == ("True", "HostRefused"), stalled
            assert "generatorHosts" in stalled["message"]

        await rig.hub.eventually(refused)
        assert not rig.children(SET)
