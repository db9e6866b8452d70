from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.fleet import kwok
from hub.fleet.layout import Layout
from hub.fleet.parts import controller_manager

STAGES = {stage["metadata"]["name"]: stage for stage in kwok.stages()}


def selector(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = STAGES[name]["spec"]["selector"]["matchExpressions"]
    return found


def excludes(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether some key has requirements that no object can meet at once."""
    return any(left["key"] == right["key"] and _contradict(left, right) for left in one for right in other)


def _contradict(left: dict[str, Any], right: dict[str, Any]) -> bool:
    operators = {left["operator"], right["operator"]}
    if operators == {"Exists", "DoesNotExist"}:
        return True
    wanted = set(left.get("values", ())), set(right.get("values", ()))
    if operators == {"In"}:
        return wanted[0].isdisjoint(wanted[1])
    if operators == {"In", "NotIn"}:
        inside, outside = wanted if left["operator"] == "In" else reversed(wanted)
        return inside <= outside
    return False


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(STAGES, 2)))
def test_no_two_stages_of_a_kind_match_at_once(one: str, other: str) -> None:
    if STAGES[one]["spec"]["resourceRef"] != STAGES[other]["spec"]["resourceRef"]:
        return
    # A pod that crashes is Running and not Ready; one that succeeds was Ready.
    if {one, other} == {"pod-crashes-again", "pod-succeeds"}:
        assert {"key": kwok._READY, "operator": "In", "values": ["True"]} in selector("pod-succeeds")
        return
    assert excludes(selector(one), selector(other))


def test_the_configuration_reads_as_options_and_every_stage() -> None:
    options, *stages = yaml.safe_load_all(kwok.configuration())
    assert options["kind"] == "KwokConfiguration"
    assert options["options"]["manageAllNodes"] is True
    assert stages == kwok.stages()


def test_failures_are_played_by_the_tag_of_the_image() -> None:
    (step,) = STAGES["pod-starts"]["spec"]["steps"]
    template = step["patch"]["template"]
    assert template.count('hasSuffix ":broken" .image') == 2  # init containers, containers
    assert template.count('hasSuffix ":crashloop" .image') == 2
    for word in ("ImagePullBackOff", "CrashLoopBackOff"):
        assert word in template


def test_no_placeholder_of_the_templates_is_left() -> None:
    text = kwok.configuration()
    for word in ("CONTAINERS", "STATUSES", "RUNS", "HOLDS", "PROVISIONER", "%("):
        assert word not in text


def test_a_node_without_heartbeats_is_not_missed_and_needs_no_lease() -> None:
    argv = controller_manager(Layout(Path("/x")), workloads=True)
    (grace,) = (one for one in argv if one.startswith("--node-monitor-grace-period="))
    assert int(grace.partition("=")[2].removesuffix("h")) > 24 * 30
    assert "nodeLeaseDurationSeconds" not in kwok.configuration()


def test_claims_without_a_class_get_ours() -> None:
    annotations = kwok.storage_class()["metadata"]["annotations"]
    assert annotations["storageclass.kubernetes.io/is-default-class"] == "true"
    assert {"key": ".spec.storageClassName", "operator": "In", "values": ["standard"]} in selector(
        "claim-is-provisioned"
    )
