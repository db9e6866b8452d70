from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from hub.fleet import fleets, kind
from hub.fleet.errors import FleetError, FleetExistsError, ToolMissingError, UnsupportedPlatformError
from hub.fleet.names import BadClusterNameError, checked
from hub.fleet.processes import ProcessFleet, load
from hub.fleet.provider import Provider, Surroundings, choose

REPOSITORY = Path(__file__).parents[4]

# A kind that keeps its clusters as files and logs its calls: the program at the other end of a pipe, which
# cannot be the real one where there is no Docker.
KIND = """#!/bin/sh
set -e
cd "{state}"
echo "$@" >> calls
name=; config=; while [ $# -gt 0 ]; do
  case "$1" in
    --name) name=$2; shift;;
    --config) config=$2; shift;;
    get|create|delete) verb="$1 $2"; shift;;
  esac
  shift
done
case "$verb" in
  "create cluster") [ ! -e "made/$name" ]; grep -q kind.x-k8s.io "$config"; touch "made/$name";;
  "delete cluster") rm "made/$name";;
  "get clusters") ls made;;
  "get kubeconfig") echo "{{clusters: [{{cluster: {{server: 'https://127.0.0.1:1/$name'}}}}]}}";;
esac
"""


@pytest.fixture
def kind_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    state = tmp_path / "kind-state"
    (state / "made").mkdir(parents=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kind").write_text(KIND.format(state=state))
    (programs / "kind").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return state


def made(state: Path) -> set[str]:
    return {path.name for path in (state / "made").iterdir()}


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        (Provider.AUTO, Surroundings(linux=True, docker=False, kind=False), Provider.PROCESSES),
        (Provider.AUTO, Surroundings(linux=True, docker=True, kind=False), Provider.PROCESSES),
        (Provider.AUTO, Surroundings(linux=True, docker=False, kind=True), Provider.PROCESSES),
        (Provider.AUTO, Surroundings(linux=True, docker=True, kind=True), Provider.KIND),
        (Provider.AUTO, Surroundings(linux=False, docker=True, kind=True), Provider.KIND),
        (Provider.PROCESSES, Surroundings(linux=True, docker=True, kind=True), Provider.PROCESSES),
        (Provider.KIND, Surroundings(linux=True, docker=True, kind=True), Provider.KIND),
    ],
)
def test_provider_follows_what_is_there(wanted: Provider, there: Surroundings, chosen: Provider) -> None:
    assert choose(wanted, there) is chosen


@pytest.mark.parametrize(
    ("wanted", "there", "error", "told"),
    [
        (
            Provider.AUTO,
            Surroundings(linux=False, docker=False, kind=False),
            UnsupportedPlatformError,
            "need Linux",
        ),
        (
            Provider.PROCESSES,
            Surroundings(linux=False, docker=True, kind=True),
            UnsupportedPlatformError,
            "--provider kind",
        ),
        (
            Provider.KIND,
            Surroundings(linux=True, docker=True, kind=False),
            ToolMissingError,
            "kind.sigs.k8s.io",
        ),
        (
            Provider.KIND,
            Surroundings(linux=True, docker=False, kind=True),
            ToolMissingError,
            "docker info",
        ),
    ],
)
def test_a_choice_that_cannot_work_says_what_to_do(
    wanted: Provider, there: Surroundings, error: type[FleetError], told: str
) -> None:
    with pytest.raises(error, match=told):
        choose(wanted, there)


@pytest.mark.parametrize("role", kind.ROLES)
def test_committed_kind_configurations_are_what_is_emitted(role: str) -> None:
    assert (REPOSITORY / "kind-configs" / f"{role}.yaml").read_text() == kind.configuration(role)


@pytest.mark.parametrize("role", kind.ROLES)
def test_kind_clusters_are_on_loopback_with_one_labelled_node(role: str) -> None:
    found = yaml.safe_load(kind.configuration(role))
    assert (found["kind"], found["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert found["networking"] == {"apiServerAddress": "127.0.0.1"}
    assert found["nodes"] == [{"role": "control-plane", "labels": {"axletree.dev/role": role}}]


def test_kind_command_lines() -> None:
    config, kubeconfig = Path("/c.yaml"), Path("/k")
    assert kind.create_argv("eu1", config=config, kubeconfig=kubeconfig) == [
        *("kind", "create", "cluster", "--name", "axletree-eu1", "--config", "/c.yaml"),
        *("--kubeconfig", "/k", "--wait", "300s"),
    ]
    assert kind.delete_argv("eu1", kubeconfig=kubeconfig) == [
        *("kind", "delete", "cluster", "--name", "axletree-eu1", "--kubeconfig", "/k")
    ]
    assert kind.kubeconfig_argv("eu1") == ["kind", "get", "kubeconfig", "--name", "axletree-eu1"]
    assert kind.list_argv() == ["kind", "get", "clusters", "--quiet"]


async def test_a_kind_fleet_is_made_once_and_deleted_exactly(tmp_path: Path, kind_state: Path) -> None:
    (kind_state / "made" / "somebody-elses").touch()
    fleet = kind.KindFleet(tmp_path / "fleet", ["eu1", "hub"])
    handles = await fleet.start()
    assert [handle.name for handle in handles] == ["hub", "eu1"]
    assert handles[1].url == "https://127.0.0.1:1/axletree-eu1"
    await fleet.start()
    calls = (kind_state / "calls").read_text().splitlines()
    assert sum("create cluster" in call for call in calls) == 2
    again = fleets.load(tmp_path / "fleet")
    assert isinstance(again, kind.KindFleet)
    assert load(tmp_path / "fleet") is None
    await again.add("us1")
    await again.remove("eu1")
    assert made(kind_state) == {"somebody-elses", "axletree-hub", "axletree-us1"}
    await again.delete()
    assert made(kind_state) == {"somebody-elses"}
    assert fleets.load(tmp_path / "fleet") is None


async def test_kind_clusters_of_someone_else_are_refused(tmp_path: Path, kind_state: Path) -> None:
    (kind_state / "made" / "axletree-hub").touch()
    with pytest.raises(FleetExistsError, match="kind delete cluster --name axletree-hub"):
        await kind.KindFleet(tmp_path / "fleet", ["hub"]).start()
    assert made(kind_state) == {"axletree-hub"}


async def test_what_kind_says_when_it_fails_is_told(tmp_path: Path, kind_state: Path) -> None:
    (kind_state / "made").rename(kind_state / "lost")
    with pytest.raises(FleetError, match="kind get clusters"):
        await kind.KindFleet(tmp_path / "fleet", ["hub"]).start()


def test_names_are_unique_and_the_hub_is_first() -> None:
    assert checked(["b", "hub", "a", "b"], hub="hub") == ["hub", "b", "a"]


@pytest.mark.parametrize("name", ["", "Hub", "-a", "a-", "a/b", "..", "a" * 43])
def test_a_name_that_cannot_be_a_folder_or_a_node_is_refused(name: str) -> None:
    with pytest.raises(BadClusterNameError):
        checked([name], hub="hub")


async def test_a_folder_goes_on_with_the_provider_that_it_has(tmp_path: Path, kind_state: Path) -> None:
    await kind.KindFleet(tmp_path / "fleet", ["hub"]).start()
    fleet = await fleets.create(Provider.AUTO, tmp_path / "fleet", ["hub"])
    assert isinstance(fleet, kind.KindFleet)
    with pytest.raises(FleetExistsError, match="axle down"):
        await fleets.create(Provider.PROCESSES, tmp_path / "fleet", ["hub"])


async def test_records_without_a_state_still_make_a_fleet_that_can_be_ended(tmp_path: Path) -> None:
    assert fleets.load(tmp_path) is None
    (tmp_path / "clusters" / "lost" / "run").mkdir(parents=True)
    fleet = fleets.load(tmp_path)
    assert isinstance(fleet, ProcessFleet)
    await fleet.delete()
    assert not (tmp_path / "clusters").exists()
