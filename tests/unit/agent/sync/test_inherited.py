"""What a former hub's inventory says of itself."""

from __future__ import annotations

from agent.apply.inventory import Entry, Inventory, to_secret
from agent.contract.manifest import ObjectRef
from agent.contract.names import (
    AGENT_NAMESPACE,
    ANNOTATION_APP,
    LABEL_AGENT_CLUSTER,
    LABEL_HUB,
    LABEL_STATE,
    agent_manager,
    applyset_id,
    inventory_name,
    short_hash,
)
from agent.sync.inherited import legacy_of

HUB, CLUSTER, APP = "0123456789abcdef", "eu1", "shop/web"
REF = ObjectRef("", "ConfigMap", "shop", "web")


def stored() -> dict[str, object]:
    labels = {
        LABEL_HUB: short_hash(HUB),
        LABEL_AGENT_CLUSTER: short_hash(CLUSTER),
        LABEL_STATE: "inventory",
    }
    secret = to_secret(
        Inventory.of([Entry(REF, "v1", "uid-1")]),
        name=inventory_name(HUB, CLUSTER, APP),
        namespace=AGENT_NAMESPACE,
        applyset=applyset_id(HUB, CLUSTER, APP),
        labels=labels,
    )
    secret["metadata"]["annotations"][ANNOTATION_APP] = APP
    secret["metadata"]["uid"] = "uid-of-secret"
    return secret


def test_an_inventory_names_the_very_manager_and_set_that_its_objects_have() -> None:
    legacy = legacy_of(stored())
    assert legacy is not None
    assert (legacy.app, legacy.hub) == (APP, short_hash(HUB))
    assert legacy.manager == agent_manager(HUB, CLUSTER)
    assert legacy.applyset == applyset_id(HUB, CLUSTER, APP)
    assert list(legacy.inventory.entries) == [REF]


def test_f24_from_what_does_not_read_nothing_is_concluded() -> None:
    broken = stored()
    broken["data"] = {"inventory": "AAAA"}
    assert legacy_of(broken) is None
    nameless = stored()
    nameless["metadata"]["annotations"].pop(ANNOTATION_APP)  # type: ignore[index]
    assert legacy_of(nameless) is None
