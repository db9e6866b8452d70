"""A real hub and a real agent: an app breaks, drifts, recovers, and each is told once, also over a restart."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.names import HUB_NAMESPACE, LABEL_CREDENTIALS
from hub.api.registry import APPLICATION, APPLICATION_SET, CLUSTER_SET, PROJECT
from tests.integration.hub_rig import SECONDS, SHOP, fleet, free_port
from tests.unit.hub.notify.servers import receiver
from tests.unit.hub.telemetry.collector import attribute, collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.controlplane import ControlPlane
    from tests.integration.hub_rig import Fleet
    from tests.unit.hub.notify.servers import Receiver
    from tests.unit.hub.telemetry.collector import Collector

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
STALE = 8.0
"""Seconds: more than a busy machine keeps an agent silent that is there."""
NAMING = {APPLICATION: "extra", APPLICATION_SET: "shop", PROJECT: "project"}
NONSENSE = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not A Name"}}'


@pytest.fixture
async def shop(own_server: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(own_server, namespace, tmp_path) as made:
        yield made


async def sink(shop: Fleet, name: str, **data: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": HUB_NAMESPACE, "labels": {LABEL_CREDENTIALS: "notification"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
    path = f"/api/v1/namespaces/{HUB_NAMESPACE}/secrets/{name}"
    await shop.client.apply(path, manifest, field_manager="tests")


def said(ops: Receiver) -> list[str]:
    return [f"{each.body['data']['name']} {each.body['data']['trigger']}" for each in ops.taken]


def states(host: Receiver, name: str) -> list[str]:
    return [each.body["state"] for each in host.taken if each.body["context"].endswith(f"/{name}")]


async def tell(shop: Fleet, *rules: dict[str, Any]) -> None:
    path = PROJECT.path(shop.namespace, "project")
    await shop.client.merge_patch(path, {"spec": {"notifications": list(rules)}})


async def push(shop: Fleet, text: str | None, **values: str) -> None:
    """Commit, and have the hub look."""
    if text is not None:
        await shop.author.commit({"apps/extra/it.yaml": text})
    else:
        await shop.commit(**values)
    for kind, name in ((APPLICATION, "extra"), (APPLICATION_SET, "shop")):
        moment = {
            "metadata": {
                "annotations": {"axletree.dev/refresh": str(len(shop.hubs)) + str(text) + str(values)}
            }
        }
        await shop.client.merge_patch(kind.path(shop.namespace, name), moment)


async def _one_trace(shop: Fleet, traces: Collector) -> None:
    """The set's first plan, with a release of each child below it. Later plans changed nothing but the commit."""

    async def whole() -> bool:
        return any(_named(_below(each, traces)) == set(SHOP) for each in traces.named("rollout"))

    await shop.until("the rollout's spans have arrived", whole)
    rollout = next(each for each in traces.named("rollout") if _below(each, traces))
    below = _below(rollout, traces)
    assert _named(below) == set(SHOP)
    assert {span.trace_id for span in below} == {rollout.trace_id}
    for span in below:
        assert rollout.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.start_time_unix_nano <= rollout.end_time_unix_nano


def _below(rollout: Any, traces: Collector) -> list[Any]:
    return [span for span in traces.named("release") if span.parent_span_id == rollout.span_id]


def _named(spans: list[Any]) -> set[str]:
    return {attribute(span, "axletree.application").partition("/")[2] for span in spans}


async def test_an_app_breaks_drifts_and_recovers_and_each_is_told_once(shop: Fleet) -> None:
    async with receiver() as ops, receiver(status=201) as host, collector() as traces:
        await sink(shop, "ops", type="cloudevents", url=ops.url)
        git = shop.repo.partition("//")[2].partition("/")[0]
        await sink(shop, "git", type="gitea", url=host.url, token="t", host=git)
        await tell(shop, {"sink": "git", "after": "0s"})
        port = free_port()
        hub = await shop.hub("first", port, otlp_endpoint=traces.url)
        await shop.join(port)
        await shop.shop()
        drift = {"sync": {"createNamespace": True, "drift": {"mode": "Alert", "alertAfter": "1s"}}}
        await shop.put(APPLICATION, "extra", shop.spec("extra", **drift))
        well = ["success"]
        await host.until(
            lambda: states(host, "shop")[-1:] == states(host, "extra")[-1:] == well, seconds=SECONDS
        )
        assert "pending" in states(host, "shop")
        await tell(shop, {"sink": "git", "after": "0s"}, {"sink": "ops", "after": "0s"})

        await push(shop, NONSENSE)
        await ops.until(lambda: said(ops) == ["extra Degraded"], seconds=SECONDS)
        assert ops.taken[0].body["data"]["message"]
        await host.until(lambda: states(host, "extra")[-1] == "failure", seconds=SECONDS)

        await hub.stop()
        await _one_trace(shop, traces)
        await shop.hub("second", port, stale_after=STALE)
        await shop.led_by("second")
        await push(shop, None, extra="2")
        await ops.until(lambda: len(ops.taken) > 1, seconds=SECONDS)
        assert said(ops) == ["extra Degraded", "extra Recovered"], (
            "the second hub knew what the first had told"
        )
        await host.until(lambda: states(host, "extra")[-1] == "success", seconds=SECONDS)

        live = f"/api/v1/namespaces/{shop.namespace}-apps/configmaps/extra"
        await shop.client.merge_patch(live, {"data": {"value": "by hand"}}, field_manager="hand")
        await ops.until(lambda: len(ops.taken) > 2, seconds=SECONDS)
        assert said(ops)[2:] == ["extra Drifted"]
        assert "DriftAlert" in ops.taken[2].body["data"]["message"]
        await shop.client.merge_patch(live, {"data": {"value": "2"}}, field_manager="hand")
        await ops.until(lambda: len(ops.taken) > 3, seconds=SECONDS)
        assert said(ops)[3:] == ["extra Recovered"]
        await _silence_and_return(shop, ops, port)
        assert len({each.body["id"] for each in ops.taken}) == 6
        await _unknown_sinks_are_named(shop, ops)


async def _silence_and_return(shop: Fleet, ops: Receiver, port: int) -> None:
    """The cluster's own set says who is told."""
    spec = {"clusters": [shop.cluster], "notifications": [{"sink": "ops", "after": "0s"}]}
    obj = CLUSTER_SET.manifest("near") | {"spec": spec}
    await shop.client.apply(CLUSTER_SET.path(name="near"), obj, field_manager="tests")
    assert shop.agent is not None
    await shop.agent.stop()
    await shop.running
    await ops.until(lambda: len(ops.taken) > 4, seconds=SECONDS)
    assert said(ops)[4:] == [f"{shop.cluster} Stale"]
    await shop.join(port)
    await ops.until(lambda: len(ops.taken) > 5, seconds=SECONDS)
    assert said(ops)[5:] == [f"{shop.cluster} Recovered"]


async def _unknown_sinks_are_named(shop: Fleet, ops: Receiver) -> None:
    """Where they are named, and no longer once they are there."""
    rules = {"spec": {"notifications": [{"sink": "nobody"}]}}
    path = {kind: kind.path(shop.namespace, name) for kind, name in NAMING.items()}
    path[CLUSTER_SET] = CLUSTER_SET.path(name="near")
    for each in path.values():
        await shop.client.merge_patch(each, rules)

    async def all_say(status: str, reason: str) -> bool:
        found = [(await shop.client.get(each)).get("status") or {} for each in path.values()]
        said = [
            next((c for c in each.get("conditions") or () if c["type"] == "Notifications"), {})
            for each in found
        ]
        return all((each.get("status"), each.get("reason")) == (status, reason) for each in said)

    await shop.until("each says that there is no such sink", lambda: all_say("False", "UnknownSink"))
    await sink(shop, "nobody", type="cloudevents", url=ops.url)
    await shop.until("each says that it is there", lambda: all_say("True", "SinksKnown"))
