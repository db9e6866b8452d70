"""`axle up` to `axle down`, as a person types them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hub.fleet.process import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hub.fleet.process import Process

pytestmark = [pytest.mark.cluster, pytest.mark.fleet, pytest.mark.timeout(600)]


class Machine:
    """A home folder with at most one fleet in it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def axle(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hub.cli.main", *arguments],
            env={**os.environ, "AXLETREE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    def processes(self) -> list[Process]:
        return [one for record in self.home.rglob("*.pid") for one in recorded(record.parent)]

    def alive(self) -> list[str]:
        return sorted({one.name for one in self.processes() if one.alive()})

    def kill(self, name: str) -> None:
        pid = next(one.identity.pid for one in self.processes() if one.name == name)
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def machine(tmp_path: Path, controlplane_binary: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "home")
    try:
        yield machine
    finally:
        machine.axle("down")
        for one in machine.processes():
            if one.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.identity.pid, signal.SIGKILL)


def test_from_nothing_to_healthy_through_a_dead_hub_to_nothing(machine: Machine) -> None:
    up = machine.axle("up", "--clusters", "1")
    assert up.returncode == 0, up.stderr
    assert "app axletree-system/root  hub  Synced  Healthy" in up.stdout
    assert "Healthy after " in up.stdout
    assert machine.axle("wait", "root", "--timeout", "60s").returncode == 0
    status = machine.axle("status")
    assert status.returncode == 0
    address = next(line for line in status.stdout.splitlines() if line.startswith("API "))
    assert address.split()[1] in up.stdout

    machine.kill("hub")
    status = machine.axle("status", "-o", "json")
    assert status.returncode == 1
    found = json.loads(status.stdout)
    assert found["hub"]["running"] is False
    assert found["hub"]["lastSeen"]
    assert {cluster["connected"] for cluster in found["clusters"]} == {"Unknown"}
    assert "the hub is not running" in machine.axle("tree").stderr

    again = machine.axle("up", "--clusters", "1")
    assert again.returncode == 0, again.stderr
    assert machine.axle("status").returncode == 0

    down = machine.axle("down")
    assert down.returncode == 0, down.stderr
    assert machine.alive() == []
    assert not (machine.home / "fleet").exists()
    assert machine.axle("down").stdout == "nothing was running\n"


def test_down_ends_what_a_crashed_up_left(machine: Machine) -> None:
    crashed = subprocess.Popen(
        [sys.executable, "-m", "hub.cli.main", "up", "--clusters", "1"],
        env={**os.environ, "AXLETREE_HOME": str(machine.home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with crashed:
        assert crashed.stderr is not None
        for line in crashed.stderr:
            if "is ready" in line:  # one control plane runs, the rest is still to come
                break
        crashed.kill()
    assert machine.alive()
    assert machine.axle("down").returncode == 0
    assert machine.alive() == []
