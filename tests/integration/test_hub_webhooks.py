"""A push that a webhook tells of, on a real hub: planned at once, and nobody else is asked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from agent.contract.names import HUB_NAMESPACE, LABEL_CREDENTIALS
from hub.api.registry import APPLICATION_SET
from hub.fleet.githttp import GitServer
from tests.integration.git_rig import new_author
from tests.integration.hub_rig import fleet, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet

pytestmark = pytest.mark.cluster
SECRET = "a-secret-of-sixteen-or-more"
LEASE = 120.0
"""Seconds. Who begins to lead asks every repository, which is not what is counted here."""


async def post(port: int, content: dict[str, Any], *, secret: str = SECRET) -> int:
    body = json.dumps(content).encode()
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Event": "push", "Content-Type": "application/json"}
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"https://127.0.0.1:{port}/webhooks/v1/github"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers, ssl=context) as response,
    ):
        return response.status


async def put_set(shop: Fleet, name: str, repo: str) -> None:
    spec = shop.spec("{{ name }}") | {
        "sources": [{"repoURL": repo, "revision": "main", "path": "apps/{{ name }}"}],
    }
    generators = [{"list": {"elements": [{"name": name}]}}]
    template = {"metadata": {"name": "{{ name }}"}, "spec": spec}
    await shop.put(APPLICATION_SET, name, {"generators": generators, "template": template})


def config_map(name: str, value: str) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
    )


async def test_s12_a_push_is_planned_at_once_and_asks_nobody_else(
    own_server: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with fleet(own_server, namespace, tmp_path) as shop:
        other_root = tmp_path / "other"
        other_root.mkdir()
        other = GitServer(other_root)
        await other.start()
        try:
            await run(shop, other, tmp_path)
        finally:
            await other.stop()


async def run(shop: Fleet, other: GitServer, tmp_path: Path) -> None:
    elsewhere = await new_author(other, tmp_path, "other.git")
    await elsewhere.commit({"apps/two/it.yaml": config_map("two", "1")})
    await shop.commit(one="1")
    shop.repo, ours = "http://**", shop.repo
    await shop.project()
    shop.repo = ours
    data = {"host": "github", "secret": SECRET}
    await shop.client.apply(
        f"/api/v1/namespaces/{HUB_NAMESPACE}/secrets/hook",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "hook",
                "namespace": HUB_NAMESPACE,
                "labels": {LABEL_CREDENTIALS: "webhook"},
            },
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        },
        field_manager="tests",
    )
    await put_set(shop, "one", shop.repo)
    await put_set(shop, "two", elsewhere.remote)
    port = free_port()
    await shop.hub("hub", port, lease_seconds=LEASE)
    await shop.join(port)
    await shop.deployed("one", "1")
    await shop.deployed("two", "1")
    await shop.commit(one="2")
    content = {"ref": "refs/heads/main", "repository": {"clone_url": shop.repo}}
    asked = other.served
    assert await post(port, content, secret="some-other-secret-of-length") == 403
    assert await post(port, content | {"ref": "refs/heads/unread"}) == 202
    assert await post(port, content) == 202
    await shop.deployed("one", "2")
    assert other.served == asked
    await shop.commit(one="3")
    standby = free_port()
    # it does not lead: its gateway tells the one that does
    await shop.hub("standby", standby, gateway="standby", lease_seconds=LEASE)
    await shop.until("the other gateway answers", lambda: answers(standby, content))
    await shop.deployed("one", "3")
    assert other.served == asked


async def answers(port: int, content: dict[str, Any]) -> bool:
    try:
        return await post(port, content) == 202
    except aiohttp.ClientError:
        return False
