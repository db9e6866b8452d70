"""What `axle agent install` prints, and that the chart makes the same."""

from __future__ import annotations

import asyncio
import json
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from agent.config import AgentConfig
from agent.contract.canonical import sha256_hex
from agent.contract.token import JoinToken
from agent.kube.yaml import load_all
from hub.cli.main import app as axle
from hub.fleet.tools import ensure_tools
from hub.install.agent import AgentInstall, agent_objects
from hub.install.rights import READS, Account, Extra

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest

ROOT = Path(__file__).resolve().parents[4]
CHART = ROOT / "charts" / "axletree-agent"
CA = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"
TOKEN = JoinToken(id="t1", secret="s" * 32, hub="hub-1", ca=sha256_hex(b"abc"), cluster="eu1").encode()
FULL = AgentInstall(
    cluster="eu1",
    hub_url="https://hub.example.com:8443",
    image="registry.example.com/axletree-agent:1.2",
    token=TOKEN,
    ca=CA,
    accounts=(
        Account("shop-deployer", ("shop", "db")),
        Account("operator", (), "admin"),
        Account("data", ("db",), "view"),
    ),
    reads=(Extra("cert-manager.io", ("certificates",)),),
    create_namespaces=True,
    https_proxy="http://proxy:3128",
    no_proxy="10.0.0.0/8",
)


def values(install: AgentInstall) -> dict[str, Any]:
    repository, _, tag = install.image.rpartition(":")
    return {
        "cluster": install.cluster,
        "hubUrl": install.hub_url,
        "join": {"token": install.token, "ca": install.ca},
        "image": {"repository": repository, "tag": tag},
        "projects": [
            {"serviceAccount": each.name, "namespaces": list(each.namespaces), "role": each.role}
            for each in install.accounts
        ],
        "reads": [{"group": each.group, "resources": list(each.resources)} for each in install.reads],
        "createNamespaces": install.create_namespaces,
        "namespaces": {"agent": True},
        "httpsProxy": install.https_proxy,
        "noProxy": install.no_proxy,
    }


@pytest.fixture(scope="session")
def helm() -> str:
    return str(asyncio.run(ensure_tools()) / "helm")


def templated(helm: str, tmp_path: Path, install: AgentInstall) -> list[Manifest]:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values(install)))
    command = [helm, "template", "agent", str(CHART), "-n", "axletree-agent", "-f", str(file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [obj for obj in load_all(printed, source="helm") if obj]


def by_name(objects: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    found = {
        (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj for obj in objects
    }
    assert len(found) == len(objects)
    return found


@pytest.mark.parametrize(
    "install",
    [
        FULL,
        AgentInstall(cluster="eu1", hub_url="https://h", image="a:1"),
        AgentInstall(
            cluster="eu1",
            hub_url="https://h",
            image="a:1",
            token=TOKEN,
            accounts=(Account("shop", ("shop",)),),
        ),
    ],
    ids=["full", "least", "one tenant"],
)
def test_chart_and_command_make_the_same_objects(helm: str, tmp_path: Path, install: AgentInstall) -> None:
    assert by_name(templated(helm, tmp_path, install)) == by_name(agent_objects(install))


def test_nothing_is_granted_by_a_star_and_writes_are_the_agents_own_secrets() -> None:
    install = AgentInstall("eu1", "https://h", "a:1", accounts=(Account("shop-deployer", ("shop",)),))
    rules = [
        (obj["metadata"].get("namespace", ""), rule)
        for obj in agent_objects(install)
        if obj["kind"] in {"Role", "ClusterRole"}
        for rule in obj["rules"]
    ]
    for namespace, rule in rules:
        assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        if set(rule["verbs"]) - {"get", "list", "watch"}:
            assert namespace == "axletree-agent"
        if "secrets" in rule["resources"]:
            assert namespace in {"axletree-agent", "shop"}
    impersonates = [rule for _, rule in rules if "impersonate" in rule["verbs"]]
    assert impersonates == [
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts"],
            "verbs": ["impersonate"],
            "resourceNames": ["shop-deployer"],
        }
    ]


def test_the_pod_is_what_a_restricted_namespace_admits() -> None:
    deployment = by_name(agent_objects(FULL))["Deployment", "axletree-agent", "axletree-agent"]
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]
    assert TOKEN not in json.dumps(deployment)


def test_the_command_takes_the_cluster_from_the_token_and_checks_the_ca(tmp_path: Path) -> None:
    good, bad = tmp_path / "ca.pem", tmp_path / "other.pem"
    good.write_text(CA)
    bad.write_text(CA.replace("YWJj", "YWJk"))
    run = CliRunner().invoke
    hub = ["agent", "install", "--hub", "https://hub.example.com:8443", "--token", TOKEN]
    printed = run(axle, [*hub, "--ca-file", str(good), "--project", "shop-deployer=shop,db"])
    assert printed.exit_code == 0, printed.output
    objects = by_name(load_all(printed.stdout, source="axle"))
    config = json.loads(objects["ConfigMap", "axletree-agent", "axletree-agent"]["data"]["agent.json"])
    assert config["cluster"] == "eu1"
    assert AgentConfig.model_validate(config).hub == "https://hub.example.com:8443"
    assert {name for kind, name, _ in objects if kind == "RoleBinding"} == {"axletree-agent", "shop", "db"}
    assert yaml.safe_load(run(axle, [*hub, "-o", "json"]).stdout)["kind"] == "List"
    assert "joined from there before" not in printed.stderr
    without = run(axle, [*hub[:4], "--cluster", "eu1"])
    assert without.exit_code == 0
    assert "only an agent that joined from there before" in without.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--hub", "http://hub.example.com"],
        ["--hub", "https://h", "--project", "Shop"],
        ["--hub", "https://h", "--project", "shop=", "--cluster", "eu1"],
        ["--hub", "https://h", "--project", "a=x", "--project", "a=y", "--cluster", "eu1"],
        ["--hub", "https://h"],
        ["--hub", "https://h", "--cluster", "eu1", "--apply"],
        ["--hub", "https://h", "--cluster", "eu1", "--ca-file", __file__],
        ["--hub", "https://h", "--cluster", "eu1", "--read", "a/b/c"],
        ["--hub", "https://h", "--cluster", "eu1", "--https-proxy", "proxy:3128"],
    ],
)
def test_what_no_agent_could_be_installed_with_is_refused(options: list[str]) -> None:
    result = CliRunner().invoke(axle, ["agent", "install", *options])
    assert result.exit_code == 2
    assert result.stdout == ""


def test_another_hubs_ca_is_refused_before_it_is_on_the_spoke(tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(CA.replace("YWJj", "YWJk"))
    options = ["--hub", "https://h", "--token", TOKEN, "--ca-file", str(other)]
    assert CliRunner().invoke(axle, ["agent", "install", *options]).exit_code == 2


def test_the_chart_has_the_packages_version_and_refuses_wrong_values(helm: str, tmp_path: Path) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == metadata.version("axletree")
    file = tmp_path / "values.json"
    for wrong in ({"hubUrl": "http://h"}, {"cluster": ""}, {"projects": [{"name": "x"}]}, {"colour": "red"}):
        file.write_text(json.dumps({"cluster": "eu1", "hubUrl": "https://h"} | wrong))
        command = [helm, "template", "agent", str(CHART), "-f", str(file)]
        assert subprocess.run(command, check=False, capture_output=True).returncode != 0, wrong


def test_reads_are_sorted_and_told_once() -> None:
    assert [group for group, _ in READS] == sorted({group for group, _ in READS})
    assert all(list(names) == sorted(set(names)) for _, names in READS)
