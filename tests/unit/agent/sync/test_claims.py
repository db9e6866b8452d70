"""Who owns an object that several apps want: the same answer whoever asks, and whenever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.apply.execute import Applier
from agent.apply.inventory import Entry, Inventory
from agent.contract.bundle import ApplyPolicy, Bundle
from agent.contract.manifest import ObjectRef
from agent.contract.wire import AssignedApp, Tombstone
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from agent.kube.discovery import RestMapper
from agent.link.state import SavedApp
from agent.sync.app import App
from agent.sync.claims import Claims

if TYPE_CHECKING:
    from collections.abc import Sequence

REF = ObjectRef("", "ConfigMap", "shop", "settings")


@pytest.fixture
def apps() -> dict[str, App]:
    """Nothing is asked of anybody here."""
    client = RestClient(KubeConfig("http://127.0.0.1:1"), user_agent="test")
    mapper = RestMapper(client)
    made = {}
    for key in ("shop/a", "shop/b"):
        applier = Applier(client, mapper, manager="axle", applyset=key, app=key)
        made[key] = App(key=key, applyset=key, manager="axle", applier=applier)
    return made


def bundle(*names: str) -> Bundle:
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}}
        for name in names
    ]
    return Bundle(policy=ApplyPolicy(namespace="shop"), objects=objects)


def enforce(app: App, *names: str) -> None:
    assigned = AssignedApp(app=app.key, digest="d" * 64, blob="b" * 64, release=1)
    app.assigned = assigned
    app.adopt(SavedApp(assigned, b""), bundle(*names))


def owned(app: App, refs: Sequence[ObjectRef]) -> None:
    app.inventory = Inventory.of(Entry(ref, "v1", "uid") for ref in refs)


def test_f48_the_one_that_has_it_owns_it_and_else_the_first_by_name(apps: dict[str, App]) -> None:
    a, b = apps.values()
    claims = Claims(apps)
    for app in (b, a):
        enforce(app, "settings")
        claims.update(app)
    assert claims.taken(b) == {REF: "shop/a"}
    assert claims.taken(a) == {}
    owned(b, [REF])
    assert claims.taken(a) == {REF: "shop/b"}
    assert claims.taken(b) == {}
    owned(a, [REF])
    assert claims.taken(b) == {REF: "shop/a"}


def test_a42_what_the_newest_bundle_leaves_out_another_may_have_at_once(apps: dict[str, App]) -> None:
    a, b = apps.values()
    claims = Claims(apps)
    enforce(a, "settings")
    owned(a, [REF])
    enforce(b, "settings")
    for app in (a, b):
        claims.update(app)
    b.taken = claims.taken(b)
    assert b.taken == {REF: "shop/a"}
    coming = AssignedApp(app=a.key, digest="e" * 64, blob="c" * 64, release=2)
    a.coming = SavedApp(coming, b""), bundle("other")
    assert claims.update(a) == {"shop/b"}, "who was denied it is woken"
    assert claims.taken(b) == {}
    assert claims.taken(a) == {REF: "shop/b"}
    assert claims.elsewhere(a) == {REF}, "and it is not pruned"


def test_i1_what_goes_with_its_app_is_left_to_the_other_that_wants_it(apps: dict[str, App]) -> None:
    a, b = apps.values()
    claims = Claims(apps)
    enforce(a, "settings")
    owned(a, [REF])
    enforce(b, "settings")
    for app in (a, b):
        claims.update(app)
    b.taken = claims.taken(b)
    a.tombstone = Tombstone.model_validate(
        {"app": a.key, "reason": "Dropped", "decidedAt": "2026-01-01T00:00:00Z"}
    )
    assert claims.update(a) == {"shop/b"}
    assert claims.elsewhere(a) == {REF}
    assert claims.taken(b) == {}
