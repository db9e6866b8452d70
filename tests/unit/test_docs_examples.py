"""The worked examples of the docs: what they say that is printed is printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

from typer.testing import CliRunner

from hub.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
REPO = "https://git.example.com/shop/fleet"


def block(name: str) -> str:
    """What stands between the marks of an example."""
    text = (DOCS / "rollouts.md").read_text()
    found = re.search(rf"<!-- example: {name} -->\n\n(.*?)\n<!-- end -->", text, re.DOTALL)
    assert found is not None, name
    return dedent(found[1])


def git(folder: Path, *arguments: str, stdin: str = "") -> None:
    who = {f"GIT_{role}_{what}": "t@t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **who},
        input=stdin,
        text=True,
        check=True,
        capture_output=True,
    )


def test_blue_green_and_a_canary_are_planned_as_the_page_says(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    shutil.copytree(DOCS / "examples" / "rollouts", folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "apply", "--unidiff-zero", "-", stdin=block("change"))
    where = ["--dir", str(folder / "sets"), "--clusters", str(folder / "clusters.yaml")]
    command = ["plan", *where, "--repo", f"{REPO}={folder}", "--from", "main"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1, result.output
    assert result.stdout.strip() == block("plan").strip()

    git(folder, "commit", "--quiet", "--all", "-m", "second")
    git(folder, "revert", "--no-commit", "HEAD")
    back = CliRunner().invoke(app, [*command, "-o", "json"])
    assert back.exit_code == 1, back.output
    first = json.loads(back.stdout)["order"][0]["apps"]
    assert "shop/route-eu1" in first, "it waits for nothing: the old colour still runs"
