from __future__ import annotations

from typing import Any

from hub.api.model import LabelSelector
from hub.cli.files import Document
from hub.cli.fleets import fleet_with
from hub.core.model import ClusterSetView, ClusterView, Fleet

KNOWN = Fleet(
    clusters={
        "eu1": ClusterView("eu1", labels={"env": "prod", "joined": "yes"}, values={"n": 1}, stale=True),
        "us1": ClusterView("us1", labels={"env": "prod"}),
    },
    cluster_sets={
        "prod": ClusterSetView("prod", LabelSelector()),
        "lab": ClusterSetView("lab", None, ("us1",)),
    },
)


def said(kind: str, name: str, spec: dict[str, Any] | None = None, **labels: str) -> Document:
    return Document("file", {"kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec or {}})


def test_a_file_says_of_a_cluster_what_it_says_and_no_more() -> None:
    found = fleet_with(KNOWN, [said("Cluster", "eu1", {"accepted": False}, env="attic")]).clusters
    assert found["eu1"] == ClusterView(
        "eu1", labels={"env": "attic", "joined": "yes"}, values={"n": 1}, stale=True, accepted=False
    )
    assert found["us1"] == KNOWN.clusters["us1"]


def test_what_git_no_longer_says_is_taken_away() -> None:
    earlier = [said("Cluster", "eu1", env="prod"), said("Cluster", "us1"), said("ClusterSet", "lab")]
    found = fleet_with(KNOWN, [said("Cluster", "eu1")], earlier=earlier)
    assert found.clusters["eu1"].labels == {"joined": "yes"}
    assert found.clusters["us1"].removing
    assert found.cluster_sets.keys() == {"prod"}


def test_with_no_hub_it_is_what_the_files_say() -> None:
    assert fleet_with(None, [said("Cluster", "ap1", env="x")]).clusters.keys() == {"hub", "ap1"}
