"""The REST client on a real API server."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.errors import ApiError
from agent.kube.client import RestClient
from agent.kube.config import load_kubeconfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def client(api_server: ControlPlane) -> AsyncIterator[RestClient]:
    config = load_kubeconfig(api_server.kubeconfig_path)
    async with RestClient(config, user_agent="axletree-test") as made:
        yield made


@pytest.fixture
async def path(client: RestClient, namespace: str) -> str:
    await client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    return f"/api/v1/namespaces/{namespace}/configmaps"


def _config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_objects_are_created_read_changed_and_deleted(client: RestClient, path: str) -> None:
    made = await client.create(path, _config_map("a", k="1"), field_manager="tester")
    assert made["metadata"]["managedFields"][0]["manager"] == "tester"
    assert (await client.get(f"{path}/a"))["data"] == {"k": "1"}
    with pytest.raises(ApiError) as exists:
        await client.create(path, _config_map("a"))
    assert (exists.value.status, exists.value.api_reason) == (409, "AlreadyExists")

    changed = await client.replace(f"{path}/a", made | {"data": {"k": "2"}})
    with pytest.raises(ApiError) as stale:
        await client.replace(f"{path}/a", made | {"data": {"k": "3"}})
    assert (stale.value.status, stale.value.api_reason) == (409, "Conflict")
    merged = await client.merge_patch(f"{path}/a", {"data": {"k": None, "m": "1"}})
    assert merged["data"] == {"m": "1"}
    patched = await client.json_patch(f"{path}/a", [{"op": "add", "path": "/data/j", "value": "1"}])
    assert patched["data"] == {"m": "1", "j": "1"}

    with pytest.raises(ApiError) as other:
        await client.delete(
            f"{path}/a", uid="another", resource_version=changed["metadata"]["resourceVersion"]
        )
    assert other.value.status == 409
    await client.delete(f"{path}/a", uid=made["metadata"]["uid"], dry_run=True)
    await client.delete(f"{path}/a", uid=made["metadata"]["uid"])
    with pytest.raises(ApiError) as missing:
        await client.get(f"{path}/a")
    assert (missing.value.status, missing.value.api_reason) == (404, "NotFound")


async def test_a9_a_second_apply_writes_nothing(client: RestClient, path: str) -> None:
    first = await client.apply(f"{path}/a", _config_map("a", k="1"), field_manager="me")
    second = await client.apply(f"{path}/a", _config_map("a", k="1"), field_manager="me")
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    tried = await client.apply(f"{path}/a", _config_map("a", k="2"), field_manager="me", dry_run=True)
    assert tried["data"] == {"k": "2"}
    assert (await client.get(f"{path}/a"))["data"] == {"k": "1"}


async def test_a13_another_managers_field_is_a_conflict_until_forced(client: RestClient, path: str) -> None:
    await client.apply(f"{path}/a", _config_map("a", k="1"), field_manager="me")
    with pytest.raises(ApiError) as conflict:
        await client.apply(f"{path}/a", _config_map("a", k="2"), field_manager="you")
    assert (conflict.value.status, conflict.value.api_reason) == (409, "Conflict")
    causes: Any = conflict.value.details["causes"]
    assert causes[0]["field"] == ".data.k"
    taken = await client.apply(f"{path}/a", _config_map("a", k="2"), field_manager="you", force=True)
    assert taken["data"] == {"k": "2"}


async def test_apply_is_strict_about_unknown_fields(client: RestClient, path: str) -> None:
    with pytest.raises(ApiError, match=r"\.dta: field not declared in schema") as caught:
        await client.apply(f"{path}/a", _config_map("a") | {"dta": {}}, field_manager="me")
    assert (caught.value.status, caught.value.api_reason) == (422, "Invalid")
    assert not caught.value.transient


async def test_a16_a_port_that_stands_twice_is_named_and_not_retried(
    client: RestClient, namespace: str, path: str
) -> None:
    port = {"port": 80, "protocol": "TCP"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [port, port]},
    }
    with pytest.raises(ApiError, match="duplicate entries for key") as caught:
        await client.apply(f"/api/v1/namespaces/{namespace}/services/web", service, field_manager="me")
    assert caught.value.status == 422


async def test_apply_stores_every_character_as_it_is(client: RestClient, path: str) -> None:
    text = "tab\t \x01\x7f\x80\x85\x9f nbsp\xa0 \u2028\u2029 \ufeff\ufffe\uffff \U0001f600 \\/ \"'\r\n end"
    data = {"text": text, "yaml": "a: b\n- c: y\n", "number": "0o17"}
    applied = await client.apply(f"{path}/a", _config_map("a", **data), field_manager="me")
    assert applied["data"] == data
    assert (await client.get(f"{path}/a"))["data"] == data


async def test_a_list_of_more_than_a_chunk_is_whole(client: RestClient, path: str) -> None:
    names = [f"c{i:03}" for i in range(520)]
    for start in range(0, len(names), 40):
        await _create_all(client, path, names[start : start + 40])
    found = await client.list(path, label_selector="kind=chunk")
    assert [item["metadata"]["name"] for item in found.items] == names
    assert {(item["apiVersion"], item["kind"]) for item in found.items} == {("v1", "ConfigMap")}
    small = await client.list(path, field_selector="metadata.name=c007", limit=1)
    assert [item["metadata"]["name"] for item in small.items] == ["c007"]
    assert int(small.resource_version) >= int(found.resource_version)


async def _create_all(client: RestClient, path: str, names: list[str]) -> None:
    labels = {"labels": {"kind": "chunk"}}
    await asyncio.gather(*(client.create(path, {"metadata": {"name": name} | labels}) for name in names))


async def test_a_watch_delivers_what_follows_its_version(client: RestClient, path: str) -> None:
    start = (await client.list(path)).resource_version
    await client.create(path, _config_map("a", k="x" * 900_000))
    await client.merge_patch(f"{path}/a", {"data": {"k": "short"}})
    await client.delete(f"{path}/a")
    seen: list[tuple[str, int]] = []
    async with aclosing(client.watch(path, resource_version=start, timeout=120)) as events:
        async for event in events:
            if event.object["metadata"].get("name") != "a":
                continue
            seen.append((event.type, len(event.object["data"]["k"])))
            if event.type == "DELETED":
                break
    assert seen == [("ADDED", 900_000), ("MODIFIED", 5), ("DELETED", 5)]


async def test_a_body_of_more_than_a_mebibyte_is_sent_as_it_is(client: RestClient, path: str) -> None:
    made = await client.apply(f"{path}/a", _config_map("a", k="1"), field_manager="me")
    padding = " " * 1_200_000  # etcd's own limit is about there: what JSON leaves out may be larger
    body = json.dumps({"data": {"k": "2"}}).encode() + padding.encode()
    url, kind = f"{path}/a", "application/merge-patch+json"
    changed = await client.request("PATCH", url, body=body, content_type=kind)
    assert changed["data"] == {"k": "2"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_watch_ends_by_itself(client: RestClient, path: str) -> None:
    start = (await client.list(path)).resource_version
    events = [event async for event in client.watch(path, resource_version=start, timeout=1)]
    assert {event.type for event in events} <= {"BOOKMARK", "ADDED"}  # the root CA's ConfigMap may arrive


async def test_a_watch_that_is_left_early_leaves_no_connection(client: RestClient, path: str) -> None:
    start = (await client.list(path)).resource_version
    await client.create(path, _config_map("a"))
    sockets = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
    before = len(sockets)  # the loop's own, and the connection that the watch takes from the pool
    async with aclosing(client.watch(path, resource_version=start, timeout=120)) as events:
        await anext(events)
        assert len(sockets) == before
    async with asyncio.timeout(60):  # long before the server would end it
        while len(sockets) != before - 1:  # noqa: ASYNC110 - the loop lets go of it in a turn of its own
            await asyncio.sleep(0)


async def test_s11_writes_impersonate_a_service_account_with_its_groups(
    client: RestClient, path: str, namespace: str
) -> None:
    user = f"system:serviceaccount:{namespace}:deployer"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.request(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review, impersonate=user
    )
    info = answer["status"]["userInfo"]
    assert info["username"] == user
    assert set(info["groups"]) == {
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    }
    with pytest.raises(ApiError) as refused:
        await client.apply(f"{path}/a", _config_map("a"), field_manager="me", impersonate=user)
    assert (refused.value.status, refused.value.api_reason) == (403, "Forbidden")
    await _allow_config_maps(client, namespace)
    await _allowed(client, namespace, user)
    await client.apply(f"{path}/a", _config_map("a", k="1"), field_manager="me", impersonate=user)
    await client.merge_patch(f"{path}/a", {"data": {"k": "2"}}, impersonate=user)
    await client.delete(f"{path}/a", impersonate=user)
    with pytest.raises(ApiError, match="cannot create resource"):
        await client.create(
            path.replace("configmaps", "secrets"), {"metadata": {"name": "s"}}, impersonate=user
        )


async def _allow_config_maps(client: RestClient, namespace: str) -> None:
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}
    await client.create(f"{rbac}/roles", {"metadata": {"name": "deployer"}, "rules": [rule]})
    await client.create(
        f"{rbac}/rolebindings",
        {
            "metadata": {"name": "deployer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}],
        },
    )


async def _allowed(client: RestClient, namespace: str, user: str) -> None:
    """Until the API server itself says so: its authorizer learns of a role by a watch."""
    attributes = {"namespace": namespace, "verb": "patch", "resource": "configmaps"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    url = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    async with asyncio.timeout(60):
        while True:
            answer = await client.request("POST", url, body=review, impersonate=user)
            if answer["status"]["allowed"]:
                return
            await asyncio.sleep(0.02)
