"""Assignments, bundles, reports and liveness, over TLS and with a real API server behind."""

from __future__ import annotations

import asyncio
import copy
import gzip
import io
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.signing import verify
from agent.contract.wire import LONG_POLL_SECONDS, MAX_REPORT_BYTES, SIGNATURE_HEADER, AssignmentDocument
from agent.kube.client import RestClient
from agent.kube.config import KubeConfig
from hub.cli.liveness import with_liveness
from hub.gateway import paths
from hub.gateway.beacon import beacon_name
from hub.gateway.identity import HubIdentity
from hub.gateway.liveness import LABEL_LIVENESS, agent_position, is_stale
from hub.gateway.observed import Observation, observed_writer
from hub.gateway.server import Gateway, GatewayContext
from hub.gateway.writer import WriterLimits
from tests.integration.gateway_rig import (
    BLOB,
    SECONDS,
    Blobs,
    Rig,
    Spoke,
    app_report,
    decode,
    new_name,
    now,
    running,
    until_heard,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hub.fleet.controlplane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
async def rig(api_server: ControlPlane) -> AsyncIterator[Rig]:
    async with running(api_server) as rig:
        yield rig


async def served(spoke: Spoke, etag: str = "") -> tuple[AssignmentDocument, str]:
    """The next document, waited for as long as may be asked."""
    status, raw, headers = await spoke.assignment(etag=etag, wait=LONG_POLL_SECONDS)
    assert status == 200, raw
    return AssignmentDocument.model_validate_json(raw), headers["ETag"]


async def test_f6_no_assignment_is_no_information_and_never_an_empty_one(rig: Rig) -> None:
    spoke = await rig.joined(new_name())
    status, raw, headers = await spoke.assignment()
    assert status == 404
    assert headers["Content-Type"].startswith("application/problem+json")
    assert decode(raw)["reason"] == "NoInformation"


async def test_an_assignment_is_signed_over_its_exact_bytes_and_answered_304_when_held(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    await rig.assign(name, seq=7, apps={"shop/web": BLOB}, gone=("shop/old",))
    status, raw, headers = await spoke.assignment(wait=LONG_POLL_SECONDS)
    assert status == 200
    verify(raw, headers[SIGNATURE_HEADER], keys=rig.identity.public_keys)
    document = AssignmentDocument.model_validate_json(raw)
    assert (document.hub_id, document.cluster, document.seq) == (rig.identity.hub_id, name, 7)
    assert [app.app for app in document.apps] == ["shop/web"]
    assert [gone.app for gone in document.tombstones] == ["shop/old"]
    again, empty, _ = await spoke.assignment(etag=headers["ETag"])
    assert (again, empty) == (304, b"")


async def test_a_waiting_poll_is_answered_by_the_change_and_not_by_another_clusters(rig: Rig) -> None:
    name, other = new_name(), new_name()
    spoke = await rig.joined(name)
    await rig.assign(name, seq=1, apps={})
    _, etag = await served(spoke)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(served(spoke, etag))
        assert (await spoke.assignment(etag=etag, wait=1))[0] == 304
        await rig.assign(other, seq=1, apps={})
        assert not poll.done()
        began = loop.time()
        await rig.assign(name, seq=2, apps={"shop/web": BLOB})
        document, _ = await poll
    assert document.seq == 2
    assert loop.time() - began < LONG_POLL_SECONDS - 10, "the poll would have waited for longer"


async def test_f3_a_hub_that_went_back_serves_another_etag(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    await rig.assign(name, seq=5, apps={"shop/web": BLOB})
    _, etag = await served(spoke)
    await rig.assign(name, seq=5, apps={"shop/other": BLOB})
    document, changed = await served(spoke, etag)
    assert document.apps[0].app == "shop/other"
    assert changed != etag


async def test_s1_a_cluster_sees_and_reports_nothing_of_another(rig: Rig) -> None:
    name = new_name()
    theirs = f"{name}-b"
    spoke, neighbour = await rig.joined(name), await rig.joined(theirs)
    app = f"default/{new_name()}"
    await rig.application(app, theirs)
    await rig.assign(name, seq=1, apps={})
    await rig.assign(theirs, seq=1, apps={app: BLOB})
    rig.blobs.held[BLOB] = gzip.compress(b"{}")
    assert (await served(spoke))[0].apps == []
    assert (await served(neighbour))[0].apps[0].app == app
    path = f"/agent/v1/bundles/{BLOB}"
    assert (await spoke.call("GET", path))[0] == 404
    assert (await neighbour.call("GET", path))[0] == 200
    assert (await spoke.report(app_report(app, health="Degraded")))[0] == 200
    assert (await neighbour.report(app_report(app, health="Healthy")))[0] == 200
    assert (await rig.observed_when(app, count=1))["health"] == "Healthy"


async def test_a_bundle_is_served_as_stored(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    data = gzip.compress(b'{"objects": []}')
    rig.blobs.held[BLOB] = data
    await rig.assign(name, seq=1, apps={"shop/web": BLOB})
    await served(spoke)
    status, raw, headers = await spoke.call(
        "GET", f"/agent/v1/bundles/{BLOB}", headers={"Accept-Encoding": "gzip"}
    )
    assert (status, raw) == (200, data)
    assert "Content-Encoding" not in headers
    assert "immutable" in headers["Cache-Control"]
    assert (await spoke.call("GET", f"/agent/v1/bundles/{'c' * 64}"))[0] == 404
    assert (await spoke.call("GET", "/agent/v1/bundles/..%2f..%2fetc"))[0] == 404


async def test_a_report_becomes_status_observed_and_the_same_again_writes_nothing(rig: Rig) -> None:
    name = new_name()
    app = f"default/{new_name()}"
    spoke = await rig.joined(name)
    await rig.application(app, name)
    await rig.assign(name, seq=1, apps={app: BLOB})
    await served(spoke)
    await rig.client.merge_patch(
        paths.application(app), {"status": {"observedGeneration": 1}}, subresource="status"
    )
    status, answer = await spoke.report(app_report(app, message="applied", counts={"Healthy": 3}))
    assert (status, answer["epoch"], answer["seq"]) == (200, 1, 1)
    observed = await rig.observed_when(app, count=1)
    assert observed["counts"] == {"Healthy": 3}
    assert observed["boot"] == "boot-1"
    assert observed["receivedAt"].endswith("Z")
    before = await rig.client.get(paths.application(app))
    assert before["status"]["observedGeneration"] == 1
    await spoke.report(app_report(app, message="applied", counts={"Healthy": 3}))
    await spoke.report(app_report(app, health="Degraded"))
    after = await rig.observed_when(app, count=3)
    assert "counts" not in after or after["counts"] == {}
    managers = {(each["manager"], each.get("subresource")) for each in before["metadata"]["managedFields"]}
    assert ("axletree-gateway", "status") in managers


async def test_a_restarted_gateway_writes_only_what_differs(api_server: ControlPlane) -> None:
    name, app, other = new_name(), "default/kept-" + new_name(), "default/moved-" + new_name()
    async with running(api_server, kept=True) as rig:
        spoke = await rig.joined(name)
        for key in (app, other):
            await rig.application(key, name)
        await rig.assign(name, seq=1, apps={app: BLOB, other: BLOB})
        await served(spoke)
        await spoke.report(app_report(app), app_report(other))
        await rig.observed_when(app, sync="Synced")
        await rig.observed_when(other, sync="Synced")
        before = await rig.client.get(paths.application(app))
        async with asyncio.timeout(SECONDS):
            while not await _recallable(rig, app, other):  # noqa: ASYNC110 - the API server's own cache
                await asyncio.sleep(0.02)
    async with running(api_server) as rig:
        spoke.url, spoke.boot = rig.gateway.url, "boot-2"
        status, answer = await spoke.report()
        assert (status, answer["resend"]) == (200, True)
        await spoke.report(app_report(app), app_report(other, sync="OutOfSync"))
        await rig.observed_when(other, sync="OutOfSync", boot="boot-2")
        assert await rig.client.get(paths.application(app)) == before


async def _recallable(rig: Rig, *keys: str) -> bool:
    """Whether what a gateway reads as it starts, a list from the API server's cache, has what was written of these."""
    page = await rig.client.get("/apis/axletree.dev/v1alpha1/applications", params={"resourceVersion": "0"})
    found = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in page["items"]}
    return all((found.get(key, {}).get("status") or {}).get("observed") for key in keys)


async def test_f32_a_late_batch_changes_nothing_and_a_retired_process_is_not_heard(rig: Rig) -> None:
    name = new_name()
    app = f"default/{new_name()}"
    spoke = await rig.joined(name)
    await rig.application(app, name)
    await rig.assign(name, seq=1, apps={app: BLOB})
    await served(spoke)
    await spoke.report(app_report(app, message="second"), count=2)
    await rig.observed_when(app, message="second")
    await spoke.report(app_report(app, message="first"), count=1)
    await spoke.report(app_report(app, message="new process"), boot="boot-2", count=1)
    await rig.observed_when(app, message="new process")
    await spoke.report(app_report(app, message="old process"), boot="boot-1", count=9)
    await spoke.report(app_report(app, message="last"), boot="boot-2", count=2)
    await rig.observed_when(app, message="last")


async def test_a_flapping_app_is_written_a_few_times_and_ends_at_its_last_state(rig: Rig) -> None:
    name = new_name()
    app = f"default/{new_name()}"
    spoke = await rig.joined(name)
    await rig.application(app, name)
    await rig.assign(name, seq=1, apps={app: BLOB})
    await served(spoke)
    before = await rig.client.get(paths.application(app))
    watch = rig.client.watch(
        "/apis/axletree.dev/v1alpha1/namespaces/default/applications",
        resource_version=before["metadata"]["resourceVersion"],
        field_selector=f"metadata.name={app.partition('/')[2]}",
        timeout=SECONDS,
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(30):
        await spoke.report(app_report(app, message=f"state {number}"))
    versions: list[str] = []
    last = None
    async with asyncio.timeout(SECONDS):
        async for event in watch:
            versions.append(event.object["metadata"]["resourceVersion"])
            last = event.object.get("status", {}).get("observed", {}).get("message")
            if last == "state 29":
                break
    await watch.aclose()
    assert last == "state 29"
    pace = WriterLimits()
    assert len(set(versions)) <= pace.burst + pace.rate * (loop.time() - began) + 1


async def test_the_first_contact_asks_for_everything_and_a_lost_status_is_asked_for_again(rig: Rig) -> None:
    name = new_name()
    app = f"default/{new_name()}"
    spoke = await rig.joined(name)
    await rig.application(app, name)
    await rig.assign(name, seq=1, apps={app: BLOB})
    _, etag = await served(spoke)
    assert (await spoke.report(app_report(app)))[1]["resend"] is True
    assert (await spoke.report())[1]["resend"] is False
    await rig.observed_when(app, count=1)
    await rig.client.delete(paths.application(app))
    await rig.application(app, name)
    await rig.assign(name, seq=2, apps={app: BLOB}, resend=1)
    assert (await served(spoke, etag))[0].resend == 1
    assert (await spoke.report())[1]["resend"] is True
    await spoke.report(app_report(app))
    await rig.observed_when(app, count=4)


async def test_limits_on_bodies_hold_packed_and_unpacked(rig: Rig) -> None:
    spoke = await rig.joined(new_name())
    big = b"x" * (MAX_REPORT_BYTES + 1)
    assert (await spoke.call("POST", "/agent/v1/reports", data=io.BytesIO(big)))[0] == 413
    bomb = gzip.compress(b" " * (MAX_REPORT_BYTES * 20))
    headers = {"Content-Encoding": "gzip"}
    assert (await spoke.call("POST", "/agent/v1/reports", data=bomb, headers=headers))[0] == 413
    headers = {"Content-Encoding": "zstd"}
    assert (await spoke.call("POST", "/agent/v1/reports", data=b"x", headers=headers))[0] == 415
    packed = gzip.compress(b'{"boot": "b", "count": 1}')
    headers = {"Content-Encoding": "gzip"}
    assert (await spoke.call("POST", "/agent/v1/reports", data=packed, headers=headers))[0] == 200
    assert (await spoke.call("POST", "/agent/v1/reports", data=b"<html>"))[0] == 400


async def test_s10_without_a_certificate_nothing_but_the_public_routes_answers(rig: Rig) -> None:
    nobody = Spoke("x", rig.gateway.url, rig.identity.ca_pem)
    assert (await nobody.call("GET", "/healthz"))[0] == 200
    assert (await nobody.call("GET", "/agent/v1/ca"))[0] == 200
    for method, path in (
        ("GET", "/agent/v1/assignment"),
        ("GET", f"/agent/v1/bundles/{BLOB}"),
        ("POST", "/agent/v1/reports"),
        ("POST", "/agent/v1/renew"),
    ):
        assert (await nobody.call(method, path))[0] == 401, path
    for method, path in (("GET", "/"), ("DELETE", "/agent/v1/reports"), ("GET", "/agent/v1/join")):
        assert (await nobody.call(method, path))[0] == 404, path


async def test_a_silent_agent_becomes_stale_and_comes_back(api_server: ControlPlane) -> None:
    async with running(api_server, stale_after=1.0) as rig:
        name = new_name()
        spoke = await rig.joined(name)
        lease = await rig.lease_when(name, beats=spoke, connected="true")
        assert not is_stale(lease, now(), 1.0)
        lease = await rig.lease_when(name, connected="false")
        assert is_stale(lease, now(), 1.0)
        assert name in rig.gateway.liveness.stale(asyncio.get_running_loop().time())
        await rig.lease_when(name, beats=spoke, connected="true")


async def test_i7_a_gateway_that_is_gone_is_no_longer_believed(api_server: ControlPlane) -> None:
    async with running(api_server, stale_after=4.0, holder=new_name()) as rig:
        name = new_name()
        spoke = await rig.joined(name)
        lease = await rig.lease_when(name, beats=spoke, connected="true")
        path = paths.lease(beacon_name(str(lease["spec"]["holderIdentity"])))
        first = await rig.client.get(path)
        async with asyncio.timeout(SECONDS):
            while (await rig.client.get(path))["spec"] == first["spec"]:  # noqa: ASYNC110 - the gateway writes
                await asyncio.sleep(0.05)
        await rig.lease_when(name, beats=spoke, connected="true")
        listed = (await rig.client.list(paths.LEASES, label_selector=LABEL_LIVENESS)).items
        clusters = [await rig.client.get(f"{paths.CLUSTERS}/{name}")]
        (said,) = (
            each["spec"]["renewTime"]
            for each in listed
            if each["metadata"]["name"] == path.rpartition("/")[2]
        )
        then = datetime.fromisoformat(said)  # when it last said that it lives
        (there,) = with_liveness(clusters, listed, then + timedelta(seconds=1))
        (later,) = with_liveness(clusters, listed, then + timedelta(seconds=10))
        assert (there["status"]["connected"], later["status"]["connected"]) == ("Connected", "Unknown")


async def test_f3_a_hub_behind_its_agent_is_told_by_the_lease(rig: Rig) -> None:
    name = new_name()
    spoke = await rig.joined(name)
    await rig.assign(name, seq=3, apps={})
    await served(spoke)
    await spoke.report(epoch=1, seq=118)
    lease = await rig.lease_when(name, connected="true", agent_epoch="1", agent_seq="118")
    assert agent_position(lease) == (1, 118)


async def test_a_restarted_gateway_takes_note_of_who_did_not_come_back(api_server: ControlPlane) -> None:
    async with running(api_server) as rig:
        name = new_name()
        spoke = await rig.joined(name)
        await spoke.report()
        before = await rig.lease_when(name, connected="true")
    async with running(api_server, stale_after=1.0) as rig:
        silent = await rig.lease_when(name, connected="false")
        assert silent["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]


async def test_a_gateway_with_no_api_server_says_so_and_never_that_there_is_nothing() -> None:
    client = RestClient(KubeConfig(server="http://127.0.0.1:9"), user_agent="tests")
    identity = HubIdentity.create(now=now())
    clock = asyncio.get_running_loop().time
    gateway = Gateway(GatewayContext(client=client, identity=identity, blobs=Blobs(), now=now, clock=clock))
    await gateway.start()
    try:
        spoke = Spoke("x", gateway.url, identity.ca_pem)
        spoke.use(identity.issue_client(spoke.csr(), "x", now()))
        answers: list[tuple[int, bytes, Any]] = [
            await spoke.call("GET", "/healthz"),
            await spoke.assignment(),
            await spoke.call("POST", "/agent/v1/reports", json={}),
        ]
        assert [status for status, _, _ in answers] == [503, 503, 503]
        assert all("Retry-After" in headers for _, _, headers in answers)
    finally:
        await gateway.stop()
        await client.close()


async def test_stopping_answers_waiting_polls(api_server: ControlPlane) -> None:
    async with running(api_server) as rig:
        name = new_name()
        spoke = await rig.joined(name)
        await rig.assign(name, seq=1, apps={})
        _, etag = await served(spoke)
        poll = asyncio.create_task(spoke.assignment(etag=etag, wait=50))
        assert (await spoke.assignment(etag=etag, wait=1))[0] == 304
        async with asyncio.timeout(SECONDS):
            await rig.gateway.stop()
            assert (await poll)[0] == 503


async def test_a_gateway_that_an_agent_left_for_another_does_not_call_it_stale(
    api_server: ControlPlane,
) -> None:
    async with (
        running(api_server, stale_after=1.0, holder="one") as first,
        running(api_server, holder="two", inner=True) as second,
    ):
        name = new_name()
        spoke = await first.joined(name)
        await first.lease_when(name, beats=spoke, connected="true")
        spoke.url = second.gateway.url
        async with asyncio.timeout(SECONDS):
            while (await spoke.report())[0] != 200:  # noqa: ASYNC110 - the other one's cache
                await asyncio.sleep(0.02)
            while first.gateway.liveness.get(name) is not None:  # noqa: ASYNC110 - a period that passes
                await asyncio.sleep(0.05)
        lease = await second.lease_when(name, connected="true")
        assert lease["spec"]["holderIdentity"] == "two"


async def test_i7_two_gateways_in_turn_show_the_last_state_and_none_that_is_older(
    api_server: ControlPlane,
) -> None:
    """Neither knows what the other one wrote, and what one took may be late."""
    name, app = new_name(), f"default/{new_name()}"
    async with (
        running(api_server, holder="one") as first,
        running(api_server, holder="two", inner=True) as second,
    ):
        spoke = await first.joined(name)
        await first.application(app, name)
        await first.assign(name, seq=1, apps={app: BLOB})
        await served(spoke)
        await spoke.report(app_report(app))
        await first.observed_when(app, health="Healthy")
        spoke.url = second.gateway.url
        await until_served(spoke)
        for rig, health in (
            (second, "Degraded"),
            (first, "Healthy"),
            (second, "Degraded"),
            (first, "Healthy"),
        ):
            spoke.url = rig.gateway.url
            status, answer = await spoke.report(app_report(app, health=health))
            assert status == 200
            assert answer["resend"] is True, "who comes from another gateway is asked for everything"
            assert (await spoke.report())[1]["resend"] is False
            await rig.observed_when(app, health=health)
        before = await first.client.get(paths.application(app))
        late = Observation(
            app_report(app, health="Degraded"),
            epoch=1,
            seq=1,
            boot=spoke.boot,
            count=before["status"]["observed"]["count"] - 1,
            received_at=now(),
        )
        writer = observed_writer(first.client, clock=asyncio.get_running_loop().time)
        writer.doubt(app)
        writer.submit(app, late, content=b"late", source=spoke.boot, order=late.count)
        await writer.close(grace=SECONDS)
        assert await first.client.get(paths.application(app)) == before


async def test_s4_two_clones_behind_two_gateways_are_noticed_and_a_successor_is_none(
    api_server: ControlPlane,
) -> None:
    name, moved = new_name(), new_name()
    async with (
        running(api_server, holder="one", settled=1.0) as first,
        running(api_server, holder="two", settled=1.0, inner=True) as second,
    ):
        spoke, successor = await first.joined(name), await first.joined(moved)
        for each in (spoke, successor):
            await until_heard(each)
            await first.lease_when(each.cluster, agent_boot="boot-1")
        clone = copy.copy(spoke)
        for each in (clone, successor):
            each.url, each.boot, each.count, each.gateway = second.gateway.url, "boot-2", 0, ""
            await until_heard(each)
            await first.lease_when(each.cluster, agent_boot="boot-2")
        async with asyncio.timeout(SECONDS):
            while True:
                for each in (spoke, clone, successor):
                    await each.report()
                found = (await first.client.get(paths.cluster(name))).get("status") or {}
                if found.get("clone"):
                    break
                await asyncio.sleep(0.1)
        assert "two gateways" in found["clone"]["message"]
        assert (await first.lease_when(name, agent_boot="boot-2"))["spec"]["holderIdentity"] == "two"
        for each in (spoke, clone):
            async with asyncio.timeout(SECONDS):
                while (await each.report())[1]["standing"] != "Cloned":  # noqa: ASYNC110 - caches
                    await asyncio.sleep(0.05)
        found = (await first.client.get(paths.cluster(moved))).get("status") or {}
        assert not found.get("clone")


async def until_served(spoke: Spoke) -> None:
    """Its gateway may not have seen the Cluster yet, nor the Assignment."""
    async with asyncio.timeout(SECONDS):
        while (await spoke.assignment())[0] != 200:  # noqa: ASYNC110 - another cache
            await asyncio.sleep(0.02)
