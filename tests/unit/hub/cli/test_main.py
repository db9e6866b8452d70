from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from hub.cli.main import COMMANDS, app

if TYPE_CHECKING:
    from pathlib import Path

runner = CliRunner()


def axle(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hub.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_names_every_command() -> None:
    result = runner.invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for name, (_, _, text) in COMMANDS.items():
        assert name in result.stdout
        assert text in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.stdout


def test_a_misspelt_command_is_an_error_with_a_hint() -> None:
    result = runner.invoke(app, ["statsu"])
    assert result.exit_code == 2
    assert "status" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("get --frob", "no such option: --frob (see `axle get --help`)"),
        ("get", "missing argument 'kind' (see `axle get --help`)"),
        ("get apps -o wide", "'wide' is not one of 'table', 'json', 'yaml', 'name' (see `axle get --help`)"),
        ("get apps --output", "option '--output' requires an argument"),
        ("up --clusters x", "invalid value for '--clusters': Input should be a valid integer"),
        ("cluster remov eu1", "no such command 'remov'. Did you mean 'remove'? (see `axle cluster --help`)"),
        ("frob", "no such command 'frob' (see `axle --help`)"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments: str, words: str) -> None:
    result = runner.invoke(app, arguments.split(), prog_name="axle")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("axle: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


@pytest.mark.parametrize("arguments", [["-h"], ["get", "-h"], ["cluster", "join", "-h"]])
def test_help_by_its_short_name(arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("arguments", [[], ["cluster"]])
def test_no_command_is_answered_with_help(arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert (result.exit_code, result.stderr) == (2, "")
    assert "Usage: " in result.stdout


def test_help_loads_no_command() -> None:
    code = (
        "import sys; sys.argv = ['axle', '--help']\n"
        "import hub.cli.main\n"
        "try: hub.cli.main.main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('aiohttp', 'pydantic', 'networkx', 'jinja2', 'kopf') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_get_loads_no_models() -> None:
    code = "import sys, hub.cli.get; print([m for m in ('pydantic', 'networkx', 'git') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_what_was_foreseen_is_one_line_and_code_2(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXLETREE_HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none")
    done = axle("get", "apps")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("axle: NoHub: ")


def test_status_that_could_not_be_asked_is_code_2_and_nobody_there_is_code_1(tmp_path: Path) -> None:
    away = tmp_path / "away.yaml"
    away.write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], "
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: a, user: {token: t}}]}"
    )
    refused = runner.invoke(app, ["status", "--kubeconfig", f"{tmp_path}/none"])
    assert (refused.exit_code, refused.stderr) == (2, "")
    assert "KubeconfigInvalid: " in refused.stdout
    alone = runner.invoke(app, ["status", "--kubeconfig", str(away)])
    assert (alone.exit_code, alone.stderr) == (1, "")
    assert "does not answer" in alone.stdout


def test_a_backup_is_not_written_to_a_terminal() -> None:
    terminal, stdout = os.openpty()
    command = [sys.executable, "-m", "hub.cli.main", "hub", "backup", "--kubeconfig", "/nonexistent"]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    os.close(terminal)
    os.close(stdout)
    assert done.returncode == 2
    assert done.stderr.startswith("axle: BackupInvalid: ")
    assert "name the file to write by -o" in done.stderr


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).stdout.startswith("axle ")


def test_a_kubeconfig_that_is_not_there_says_what_is(tmp_path: object) -> None:
    result = runner.invoke(app, ["kubeconfig", "eu1"], env={"AXLETREE_HOME": str(tmp_path)})
    assert result.exit_code == 2
    assert "there is no local fleet" in result.stderr


def test_down_where_nothing_is_does_nothing(tmp_path: object) -> None:
    result = runner.invoke(app, ["down"], env={"AXLETREE_HOME": f"{tmp_path}/none"})
    assert (result.exit_code, result.stdout) == (0, "nothing was running\n")
