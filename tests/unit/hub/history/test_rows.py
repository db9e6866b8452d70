from __future__ import annotations

from typing import Any

import pytest

from hub.history.rows import events_of, rows_of

AT = "2026-01-01T00:00:00.000Z"


def cluster(reason: str) -> dict[str, Any]:
    """As the controller writes it: `health` is a word here."""
    ready = {"type": "Ready", "status": "True", "reason": reason, "message": f"it is {reason}"}
    return {
        "kind": "Cluster",
        "metadata": {"name": "eu1"},
        "spec": {},
        "status": {"health": "Healthy", "conditions": [ready]},
    }


def app(**status: Any) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": "web", "labels": {"axletree.dev/application-set": "apps"}}
    return {"kind": "Application", "metadata": metadata, "spec": {"cluster": "eu1"}, "status": status}


def told(old: Any, new: Any) -> list[tuple[str, str, str]]:
    return [(each["reason"], each["old"], each["new"]) for each in events_of(old, new, at=AT)]


def test_a_cluster_tells_when_it_is_heard_and_when_not() -> None:
    assert told(cluster("Connected"), cluster("Stale")) == [("ClusterChanged", "Connected", "Stale")]
    assert told(cluster("Stale"), cluster("Stale")) == []
    assert told(None, cluster("Connected"))[0][0] == "Appeared"


@pytest.mark.parametrize(
    ("old", "new", "gives"),
    [
        ({}, {}, []),
        (
            {"health": {"state": "Healthy"}},
            {"health": {"state": "Degraded"}},
            [("HealthChanged", "Healthy", "Degraded")],
        ),
        (
            {"sync": {"state": "Synced"}},
            {"sync": {"state": "Syncing"}},
            [("SyncChanged", "Synced", "Syncing")],
        ),
        ({"sync": {"release": 1}}, {"sync": {"release": 2}}, [("Released", "1", "2")]),
        ({}, {"blockedBy": [{"edge": "Wave", "on": "a"}]}, [("BlockedChanged", "", "Wave a")]),
        (
            {},
            {"deletion": {"reason": "Dropped", "held": "Budget"}},
            [("DeletionChanged", "", "Dropped Held")],
        ),
        ({"health": {"message": "a"}}, {"health": {"message": "b"}}, []),
    ],
)
def test_an_application_tells_what_matters(old: Any, new: Any, gives: Any) -> None:
    assert told(app(**old), app(**new)) == gives


def test_what_is_gone_is_told_with_where_it_was() -> None:
    (event,) = events_of(app(), None, at=AT)
    assert (event["reason"], event["cluster"], event["owner"]) == ("Gone", "eu1", "shop/apps")


def test_rows_of_an_application_without_a_status_are_whole() -> None:
    rows = rows_of(app())
    assert (rows.apps[0]["health"], rows.apps[0]["ready"], rows.releases) == ("Unknown", False, [])
