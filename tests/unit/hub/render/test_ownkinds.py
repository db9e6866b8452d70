"""Kinds that charts ask for: those of a cluster that said what it serves, as Helm knows them on a cluster."""

from __future__ import annotations

from hub.render.chart import render_chart
from hub.render.ownkinds import with_kinds
from tests.unit.hub.render.test_chart_backends import MAP, SDK, chart, source

ASKS = '"{{ .Capabilities.APIVersions.Has `policy/v1/PodDisruptionBudget` }}"'


def test_what_is_served_has_its_kinds() -> None:
    served = with_kinds(("apps/v1", "batch/v1", "example.com/v1", "example.com/v1/Thing"), "v1.36.3")
    assert "apps/v1/Deployment" in served
    assert {"batch/v1/Job", "batch/v1/CronJob", "example.com/v1/Thing"} <= set(served)
    assert not any(one.startswith("policy/") for one in served)
    assert list(served) == sorted(served)
    assert with_kinds((), "v1.36.3") == ()


def test_what_came_later_or_went_is_there_only_in_its_time() -> None:
    assert "batch/v1/CronJob" not in with_kinds(("batch/v1",), "v1.20.9")
    assert "networking.k8s.io/v1/ServiceCIDR" not in with_kinds(("networking.k8s.io/v1",), "1.32.0+k3s1")
    assert "policy/v1beta1/PodSecurityPolicy" in with_kinds(("policy/v1beta1",), "v1.24.1")
    assert "policy/v1beta1/PodSecurityPolicy" not in with_kinds(("policy/v1beta1",), "v1.25.0")


def test_a_chart_finds_them() -> None:
    files = chart(a=MAP % ("a", ASKS))
    served = with_kinds(("policy/v1",), "v1.36.3")
    (known,) = render_chart(source("kinds", files, {}, api_versions=served), SDK)
    assert known[1]["data"]["x"] == "true"
