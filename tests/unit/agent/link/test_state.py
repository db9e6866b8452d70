from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.canonical import sha256_hex
from agent.contract.errors import ApiError
from agent.contract.wire import AssignedApp
from agent.link.assignment import SignedAssignment
from agent.link.identity import IdentityOfAnotherCluster, IdentityStore, new_identity
from agent.link.secrets import SecretWriter
from agent.link.state import CHUNK, SavedApp, StateStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.kube.client import RestClient


def _store(kube: RestClient, *, cluster: str = "eu-1", uid: str = "uid-1") -> StateStore:
    return StateStore(SecretWriter(kube), hub_id="hub-1", cluster=cluster, cluster_uid=uid)


def _app(data: bytes, *, app: str = "shop/web", release: int = 1, **flags: bool) -> SavedApp:
    assigned = AssignedApp(app=app, digest="d" * 64, blob=sha256_hex(data), release=release)
    return SavedApp(assigned, data, **flags)


async def test_what_was_saved_is_loaded(
    kube: RestClient, secret_server: Any, document: Callable[..., Any]
) -> None:
    made = document(7)
    raw = json.dumps(made.wire()).encode()
    store = _store(kube)
    await store.save_assignment(SignedAssignment(made, raw, "signature", '"7"'))
    await store.save_app(_app(b"bundle"))
    inventory = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "inv", "labels": {"a": "b"}}}
    await store.save_inventory("shop/web", inventory)
    state = await _store(kube).load()
    assert state.assignment == SignedAssignment(made, raw, "signature", '"7"')
    assert state.apps["shop/web"] == _app(b"bundle")
    assert state.inventories["shop/web"]["metadata"]["labels"]["a"] == "b"
    assert state.corrupt == ()


async def test_one_release_is_one_write(kube: RestClient, secret_server: Any) -> None:
    store = _store(kube)
    for release in (1, 2, 3):
        data = f"bundle {release}".encode()
        await store.save_app(_app(data, release=release))
    assert [write.split()[0] for write in secret_server.writes] == ["POST", "PUT", "PUT"]


async def test_a_large_bundle_has_its_chunks_before_it_counts(kube: RestClient, secret_server: Any) -> None:
    store = _store(kube)
    first, second = os.urandom(2 * CHUNK + 5), os.urandom(CHUNK + 1)
    await store.save_app(_app(first))
    assert secret_server.writes[-1].endswith(store._app_name("shop/web"))
    assert len(secret_server.secrets) == 3
    assert (await _store(kube).load()).apps["shop/web"].data == first
    restarted = _store(kube)
    await restarted.load()
    await restarted.save_app(_app(second, release=2))
    assert len(secret_server.secrets) == 2  # the old chunks went after the new release counted
    assert (await _store(kube).load()).apps["shop/web"].data == second


async def test_f24_a_corrupt_app_is_named_and_nothing_else_is_lost(
    kube: RestClient, secret_server: Any
) -> None:
    store = _store(kube)
    await store.save_app(_app(b"one", app="shop/one"))
    await store.save_app(_app(b"two", app="shop/two"))
    secret_server.secrets[store._app_name("shop/one")]["data"]["bundle"] = "AAAA"
    state = await _store(kube).load()
    assert list(state.apps) == ["shop/two"]
    assert state.corrupt == (store._app_name("shop/one"),)


async def test_f23_a_full_store_is_an_error_and_keeps_the_old(kube: RestClient, secret_server: Any) -> None:
    store = _store(kube)
    await store.save_app(_app(b"old"))
    secret_server.full = True
    with pytest.raises(ApiError):
        await store.save_app(_app(b"new", release=2))
    assert (await _store(kube).load()).apps["shop/web"].data == b"old"


async def test_agents_that_share_a_cluster_keep_apart(kube: RestClient, secret_server: Any) -> None:
    await _store(kube).save_app(_app(b"one"))
    await _store(kube, cluster="eu-1-b").save_app(_app(b"two"))
    assert (await _store(kube).load()).apps["shop/web"].data == b"one"


async def test_state_of_a_cloned_cluster_is_left_aside(kube: RestClient, secret_server: Any) -> None:
    await _store(kube).save_app(_app(b"one"))
    assert (await _store(kube, uid="uid-2").load()).apps == {}
    assert len(secret_server.secrets) == 1


async def test_a_dropped_app_leaves_nothing(kube: RestClient, secret_server: Any) -> None:
    store = _store(kube)
    await store.save_app(_app(b"one"))
    await store.save_inventory("shop/web", {"metadata": {"name": "inv"}})
    await store.drop_app("shop/web", inventory="inv")
    await store.drop_app("shop/web", inventory="inv")
    assert secret_server.secrets == {}
    assert secret_server.writes[-1] == f"DELETE {store._app_name('shop/web')}"


async def test_identity_is_kept_for_its_cluster_alone(kube: RestClient, secret_server: Any) -> None:
    store = IdentityStore(SecretWriter(kube), "eu-1")
    assert await store.load("uid-1") is None
    identity = new_identity("eu-1", "uid-1")
    await store.save(identity)
    assert await IdentityStore(SecretWriter(kube), "eu-1").load("uid-1") == identity
    with pytest.raises(IdentityOfAnotherCluster):
        await store.load("uid-2")


async def test_a_held_app_is_still_held_after_a_restart(kube: RestClient, secret_server: Any) -> None:
    await _store(kube).save_app(_app(b"one", passed=False))
    assert (await _store(kube).load()).apps["shop/web"].passed is False
