"""The dashboard and the alerts of the chart ask for what is there."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.kube.yaml import load_all
from tests.unit.hub.telemetry.test_metrics import busy, scrape

MONITORING = Path(__file__).parents[4] / "charts" / "axletree-hub" / "monitoring"
NAME = re.compile(r"\b(?:axletree|process)_[a-z_]+\b(?!\s*=)")


def dashboard() -> dict[str, Any]:
    return json.loads((MONITORING / "dashboard.json").read_text())


def rules() -> list[dict[str, Any]]:
    (document,) = load_all((MONITORING / "rules.yaml").read_text(), source="rules")
    return [rule for group in document["groups"] for rule in group["rules"]]


def served() -> dict[str, set[str]]:
    """Each series with its labels."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(asyncio.run(scrape(busy()))):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    variables = [
        each["query"]["query"] for each in dashboard()["templating"]["list"] if each["type"] == "query"
    ]
    return [*panels, *variables, *(rule["expr"] for rule in rules())]


def test_each_metric_that_dashboard_and_alerts_ask_for_is_served_with_these_labels() -> None:
    there = served()
    asked = expressions()
    assert len(asked) > 30
    for expression in asked:
        names = NAME.findall(expression)
        assert names, expression
        for name in names:
            assert name in there, f"{name} of {expression}"
            for matchers in re.findall(rf"{name}\{{([^}}]*)\}}", expression):
                labels = set(re.findall(r"(\w+)\s*[=!]", matchers)) - {"job"}
                assert labels <= there[name], f"{labels} of {expression}"


def test_every_metric_of_ours_is_told_on_the_page() -> None:
    page = (Path(__file__).parents[4] / "docs" / "operations" / "metrics.md").read_text()
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in served() if "axletree" in name}
    for name in families:
        assert f"`{name}`" in page, name
    told = set(re.findall(r"`(axletree_\w+)`", page))
    assert told == families
    for rule in rules():
        assert f"`{rule['alert']}`" in page


def test_panels_stand_beside_each_other_and_know_their_data_source() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


def test_alerts_fire_when_they_should_as_promtool_runs_them(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: scripts/prometheus installs it")
    told = (Path(__file__).parent / "alerts.yaml").read_text()
    asked = tmp_path / "alerts.yaml"
    asked.write_text(told.replace("RULES", str(MONITORING / "rules.yaml")))
    page = (Path(__file__).parents[4] / "docs" / "operations" / "metrics.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    (tmp_path / "prometheus.yaml").write_text(example[1])
    for command in (
        ["check", "rules", str(MONITORING / "rules.yaml")],
        ["test", "rules", str(asked)],
        ["check", "config", str(tmp_path / "prometheus.yaml")],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
