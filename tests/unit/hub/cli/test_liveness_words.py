from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hub.cli.kinds import CLUSTERS
from hub.cli.liveness import CONTROLLER, RENEWED_SECONDS, hub_life, leads, unheard, with_liveness
from hub.gateway.liveness import RENEW_SECONDS

NOW = datetime(2020, 1, 1, 12, 0, tzinfo=UTC)


def lease(name: str, *, ago: float, seconds: int, holder: str = "h-42", **annotations: str) -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "metadata": {"name": name, "annotations": {f"axletree.dev/{k}": v for k, v in annotations.items()}},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds},
    }


def agent(*, ago: float, connected: str) -> dict[str, Any]:
    return lease("agent-eu1", ago=ago, seconds=360, cluster="eu1", connected=connected)


def word(status: dict[str, Any], *leases: dict[str, Any]) -> str:
    (found,) = with_liveness([{"metadata": {"name": "eu1"}, "status": status}], leases, NOW)
    return str(found["status"]["connected"])


def test_a_cluster_that_never_joined_is_pending() -> None:
    assert word({}) == "Pending"


def test_the_lease_says_who_is_there() -> None:
    assert word({"fingerprint": "ab"}, agent(ago=100, connected="true")) == "Connected"
    assert word({"fingerprint": "ab"}, agent(ago=100, connected="false")) == "Stale"


def test_a_lease_that_nobody_renews_says_nothing() -> None:
    assert (
        word({"fingerprint": "ab", "connected": "Connected"}, agent(ago=400, connected="true")) == "Unknown"
    )


def test_a_gateway_that_ended_is_believed_no_more_of_its_agents() -> None:
    def gateway(ago: float, holder: str = "h-42") -> dict[str, Any]:
        found = lease("gateway-x", ago=ago, seconds=60, holder=holder)
        return found | {"metadata": found["metadata"] | {"labels": {"axletree.dev/liveness": "gateway"}}}

    near = agent(ago=100, connected="true")
    assert word({"fingerprint": "ab"}, near, gateway(ago=50)) == "Connected"
    assert word({"fingerprint": "ab"}, near, gateway(ago=150)) == "Unknown"
    assert word({"fingerprint": "ab"}, near, gateway(ago=150, holder="another")) == "Connected"


def test_the_latest_word_has_the_latest_time() -> None:
    cluster = {"metadata": {"name": "eu1"}, "status": {"lastSeen": "2010-01-01T00:00:00Z"}}
    (found,) = with_liveness([cluster], [agent(ago=5, connected="true")], NOW)
    assert found["status"]["lastSeen"].startswith("2020-01-01T11:59:55")
    assert cluster["status"] == {"lastSeen": "2010-01-01T00:00:00Z"}


def test_who_is_connected_was_heard_within_what_silence_may_last() -> None:
    def row(clusters: list[dict[str, Any]]) -> list[str]:
        return [CLUSTERS.row(each)[CLUSTERS.columns.index("LAST SEEN")] for each in clusters]

    cluster = {"metadata": {"name": "eu1"}, "status": {"fingerprint": "ab"}}
    near = with_liveness([cluster], [agent(ago=250, connected="true")], NOW)
    assert row(near) == ["<60s"]
    assert row(unheard(near))[0].endswith("d"), "what was known last, and how old that is"
    assert row(with_liveness([cluster], [agent(ago=250, connected="false")], NOW))[0].endswith("d")
    assert RENEWED_SECONDS == RENEW_SECONDS


def test_without_a_hub_nobody_is_known_to_be_connected() -> None:
    clusters = with_liveness(
        [{"metadata": {"name": "eu1"}, "status": {}}], [agent(ago=5, connected="true")], NOW
    )
    assert unheard(clusters)[0]["status"]["connected"] == "Unknown"


def test_the_controllers_lease_says_whether_the_hub_runs() -> None:
    assert hub_life([lease(CONTROLLER, ago=5, seconds=15)], NOW).running
    assert not hub_life([lease(CONTROLLER, ago=60, seconds=15)], NOW).running
    assert not hub_life([lease(CONTROLLER, ago=1, seconds=15, holder="")], NOW).running
    dead = hub_life([lease(CONTROLLER, ago=60, seconds=15)], NOW)
    assert dead.last.startswith("2020-01-01T11:59:00")
    assert hub_life([], NOW).last == ""


def test_a_crashed_forerunners_lease_is_not_ours() -> None:
    leases = [lease(CONTROLLER, ago=1, seconds=15, holder="host-41")]
    assert leads(leases, 41, NOW)
    assert not leads(leases, 1, NOW)
