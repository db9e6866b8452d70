"""What `axle` prints into a pipe whose reader goes away: no traceback, and no exit code that means something."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hub.cli.output import EXIT_PIPE

if TYPE_CHECKING:
    from pathlib import Path

LONG = "-x" * 100
APPS = "".join(
    f"apiVersion: axletree.dev/v1alpha1\nkind: Application\nmetadata: {{name: app-{number}{LONG}}}\n"
    "spec: {cluster: eu1, sources: [{repoURL: 'https://h/x'}]}\n---\n"
    for number in range(900)
)


@pytest.mark.parametrize("fmt", ["table", "dot", "mermaid", "json", "name"])
def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path, fmt: str) -> None:
    (tmp_path / "apps.yaml").write_text(APPS)
    command = [sys.executable, "-m", "hub.cli.main", "graph", "-f", str(tmp_path), "-o", fmt]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
        code = process.wait(120)
    assert said == ""
    assert code in {0, EXIT_PIPE}, "0 where all was written before it went away"


def test_output_that_a_reader_takes_whole_ends_as_ever(tmp_path: Path) -> None:
    (tmp_path / "apps.yaml").write_text(APPS[: APPS.index("---")])
    command = [sys.executable, "-m", "hub.cli.main", "graph", "-f", str(tmp_path), "-o", "name"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "application.axletree.dev/default/app-0" + LONG + "\n"
