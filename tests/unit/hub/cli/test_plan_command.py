"""`axle plan` on files: a real Git checkout of the sample, and what one commit of it would do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from hub.cli.main import app
from hub.fleet.sample import PLACEHOLDER, SAMPLE

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

CLUSTERS = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: eu1, labels: {env: prod, ring: "0"}}
spec: {values: {ingressDomain: eu1.example.com, shop: {replicas: 2}}}
---
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: us1, labels: {env: prod, ring: "1"}}
spec: {values: {ingressDomain: us1.example.com, shop: {replicas: 2}}}
"""
WAVES = """
  rollout:
    waves:
      - {name: canary, selector: {matchLabels: {ring: "0"}}, soak: 10m}
      - {name: fleet, approval: Manual}
"""
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {password: %s, user: me}\n"


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fleet"
        shutil.copytree(SAMPLE, self.folder)
        self.clusters = folder / "clusters.yaml"
        self.clusters.write_text(CLUSTERS)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("first")

    def git(self, *arguments: str) -> None:
        who = {f"GIT_{role}_{what}": "t@t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], **who},
            check=True,
            capture_output=True,
        )

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def plan(self, *arguments: str) -> Result:
        where = ["--dir", str(self.folder / "root"), "--clusters", str(self.clusters)]
        return CliRunner().invoke(
            app, ["plan", *where, "--repo", f"{PLACEHOLDER}={self.folder}", "--from", "HEAD", *arguments]
        )

    def found(self, *arguments: str) -> dict[str, Any]:
        result = self.plan(*arguments, "-o", "json")
        assert result.exit_code in (0, 1), result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def image_of(checkout: Checkout) -> tuple[str, str]:
    file = "shop/backend/values.yaml"
    lines = (checkout.folder / file).read_text().splitlines()
    return file, next(line.partition("image:")[2].strip() for line in lines if line.startswith("image:"))


def test_nothing_changed_is_said_and_exits_with_zero(checkout: Checkout) -> None:
    result = checkout.plan()
    assert (result.exit_code, "0 added, 0 changed, 0 removed" in result.stdout) == (0, True), result.output


def test_a_changed_image_shows_its_diff_on_every_cluster(checkout: Checkout) -> None:
    file, image = image_of(checkout)
    checkout.replace(file, image, "registry.invalid/backend:broken")
    found = checkout.found()
    assert [(each["app"], each["action"]) for each in found["changes"]] == [
        ("shop/backend-eu1", "Changed"),
        ("shop/backend-us1", "Changed"),
    ]
    (change,) = found["changes"][0]["objects"]
    assert change["object"].startswith("apps/Deployment")
    assert any(line.startswith("+") and "registry.invalid/backend:broken" in line for line in change["diff"])
    assert any(line.startswith("-") and image in line for line in change["diff"])
    assert found["order"] == [{"apps": ["shop/backend-eu1", "shop/backend-us1"]}]
    table = checkout.plan()
    assert table.exit_code == 1
    assert "~ shop/backend-eu1  eu1" in table.stdout
    assert table.stdout.count("registry.invalid/backend:broken") == 1
    assert "as shop/backend-eu1" in table.stdout


def test_the_order_is_that_of_waves_and_edges(checkout: Checkout) -> None:
    set_file = "root/shop.yaml"
    text = (checkout.folder / set_file).read_text().rstrip("\n")
    checkout.write(set_file, text + WAVES)
    checkout.commit("waves")
    for app_name in ("database", "backend"):
        checkout.write(
            f"shop/{app_name}/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n"
        )
    found = checkout.found()
    assert found["order"] == [
        {"apps": ["shop/database-eu1"]},
        {"apps": ["shop/backend-eu1"]},
        {
            "apps": ["shop/database-us1"],
            "after": ["soak of wave canary of shop/shop", "approval of wave fleet of shop/shop"],
        },
        {"apps": ["shop/backend-us1"]},
    ]
    assert {each["app"]: each["wave"] for each in found["changes"]}["shop/backend-us1"] == "fleet"
    assert found["changes"][0]["after"] == ["shop/database-eu1"]


def test_i5_secret_values_are_masked(checkout: Checkout) -> None:
    checkout.write("shop/backend/key.yaml", SECRET % "hunter2")
    checkout.commit("a secret")
    checkout.write("shop/backend/key.yaml", SECRET % "correct-horse")
    result = checkout.plan()
    assert result.exit_code == 1
    assert "hunter2" not in result.output
    assert "correct-horse" not in result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["-", "password:", "(secret,", "before)"] in lines
    assert ["+", "password:", "(secret,", "after)"] in lines
    assert ["user:", "(secret)"] in lines


def test_what_goes_is_named_with_the_rule_that_would_hold_it(checkout: Checkout) -> None:
    shutil.rmtree(checkout.folder / "shop" / "frontend")
    shutil.rmtree(checkout.folder / "shop" / "backend")
    found = checkout.found()
    gone = [each["app"] for each in found["changes"] if each["action"] == "Removed"]
    assert gone == ["shop/backend-eu1", "shop/backend-us1", "shop/frontend-eu1", "shop/frontend-us1"]
    assert {each["rule"] for each in found["held"]} == {"Budget"}
    assert [each["app"] for each in found["held"]] == gone


def test_a_child_that_cannot_be_rendered_holds_what_needs_it(checkout: Checkout) -> None:
    checkout.write("shop/database/broken.yaml", "kind: [")
    checkout.write("shop/backend/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n")
    found = checkout.found()
    database = found["changes"][2]
    assert (database["app"], "broken.yaml" in database["problem"]) == ("shop/database-eu1", True)
    held = {each["app"]: each for each in found["held"]}
    assert held["shop/backend-eu1"]["rule"] == "Dependency"
    assert "database@eu1" in held["shop/backend-eu1"]["message"]


def test_two_commits_are_compared_whatever_lies_in_the_folder(checkout: Checkout) -> None:
    checkout.write("shop/extra/it.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it}\n")
    checkout.commit("extra")
    checkout.write("shop/extra/it.yaml", "kind: [")
    found = checkout.found("--from", "HEAD~1", "--to", "HEAD")
    added = {each["app"]: each["action"] for each in found["changes"]}
    assert added == {"shop/extra-eu1": "Added", "shop/extra-us1": "Added"}
    assert checkout.plan("--from", "no-such-branch").exit_code == 2
    assert checkout.plan("--from", "--upload-pack=x").exit_code == 2


def test_what_waits_for_a_person_or_the_clock_is_held_by_that_rule(checkout: Checkout) -> None:
    window = 'spec: {maintenanceWindows: [{start: "0 3 1 1 *", duration: 1h}], values: '
    text = CLUSTERS.replace("spec: {values: ", window, 1)
    checkout.clusters.write_text(text)
    set_file = "root/shop.yaml"
    checkout.write(set_file, (checkout.folder / set_file).read_text().rstrip("\n") + WAVES)
    checkout.commit("waves")
    checkout.write("shop/database/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n")
    found = checkout.found()
    assert {(each["app"], each["rule"]) for each in found["held"]} == {
        ("shop/database-eu1", "Window"),
        ("shop/database-us1", "Wave"),
    }
    assert "waits for approval" in found["held"][1]["message"] + found["held"][0]["message"]
    first, second = found["order"]
    assert (first["apps"], second["apps"]) == (["shop/database-eu1"], ["shop/database-us1"])
    assert first["after"][0].startswith("the maintenance window of eu1 at ")

    paused = (checkout.folder / set_file).read_text()
    metadata = "metadata: {name: shop,"
    assert metadata in paused
    note = 'annotations: {axletree.dev/paused: "true"},'
    checkout.write(set_file, paused.replace(metadata, f"{metadata} {note}"))
    found = checkout.found()
    assert {(each["app"], each["rule"]) for each in found["held"]} == {
        ("shop/database-eu1", "Paused"),
        ("shop/database-us1", "Paused"),
    }
    assert found["order"] == []


CLUSTER = """
apiVersion: axletree.dev/v1alpha1
kind: Cluster
metadata: {name: ap1, labels: {env: %s}}
spec: {values: {ingressDomain: ap1.example.com, shop: {replicas: 2}}}
"""


def actions(found: dict[str, Any]) -> dict[str, str]:
    return {each["app"]: each["action"] for each in found["changes"]}


def test_a_commit_that_changes_the_fleet_shows_what_that_does(checkout: Checkout) -> None:
    """A label, a value or a whole cluster in Git is as much a change as a manifest is."""
    checkout.write("root/ap1.yaml", CLUSTER % "prod")
    found = actions(checkout.found())
    assert {"shop/backend-ap1", "shop/database-ap1", "shop/frontend-ap1"} <= found.keys()
    assert set(found.values()) == {"Added"}
    checkout.commit("a cluster")
    checkout.replace("root/ap1.yaml", "replicas: 2", "replicas: 5")
    assert set(actions(checkout.found()).items()) == {
        ("shop/backend-ap1", "Changed"),
        ("shop/frontend-ap1", "Changed"),
    }
    checkout.write("root/ap1.yaml", CLUSTER % "attic")
    found = actions(checkout.found())
    assert found.keys() >= {"shop/backend-ap1", "shop/database-ap1", "shop/frontend-ap1"}
    assert {found[f"shop/{name}-ap1"] for name in ("backend", "database", "frontend")} == {"Removed"}


@pytest.mark.parametrize("copies", ["another", "shop"])
def test_two_that_ask_for_one_name_cannot_be_planned(checkout: Checkout, copies: str) -> None:
    text = (checkout.folder / "root/shop.yaml").read_text()
    assert "metadata: {name: shop," in text
    checkout.write("root/copy.yaml", text.replace("metadata: {name: shop,", f"metadata: {{name: {copies},"))
    result = checkout.plan()
    assert result.exit_code == 2
    words = "DuplicateName" if copies == "another" else "is there twice"
    assert words in result.output
