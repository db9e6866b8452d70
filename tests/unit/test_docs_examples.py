"""The worked examples of the docs: what they say that is printed is printed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

from aiohttp import web
from aiohttp.test_utils import TestServer
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


async def test_the_shell_example_outlasts_a_hub_that_starts_again_and_ends_where_it_is_refused(
    tmp_path: Path,
) -> None:
    answers: list[tuple[int, str]] = []

    async def answer(_: web.Request) -> web.Response:
        status, text = answers.pop(0)
        return web.Response(status=status, text=text)

    async def run(url: str) -> tuple[int | None, str]:
        known = {
            "AXLETREE_API": url,
            "AXLETREE_TOKEN": "t",
            "AXLETREE_CA": str(tmp_path),
            "AXLETREE_PAUSE": "0",
        }
        process = await asyncio.create_subprocess_exec(
            *("sh", str(DOCS / "examples/automation/wait.sh"), "shop/shop", "c0ffee1"),
            env={"PATH": os.environ["PATH"]} | known,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 120)
        return process.returncode, out.decode()

    served = web.Application()
    served.router.add_get("/{path:.*}", answer)
    async with TestServer(served) as server:
        url = str(server.make_url("")).rstrip("/")
        for passing in ((503, '{"title":"NotReady","status":503,"detail":""}'), (502, "<html>"), (500, "")):
            answers += [
                (200, '{"state":"Pending","revision":""}'),
                passing,
                (200, '{"state":"Healthy","r":""}'),
            ]
            assert await run(url) == (0, "")
            assert not answers
        for said in ('{"state":"Failed","where":[]}', '{"title":"NotFound","status":404,"detail":""}'):
            answers.append((200, said))
            assert await run(url) == (1, f"{said}\n")
    code, _ = await run(url)
    assert code == 2
