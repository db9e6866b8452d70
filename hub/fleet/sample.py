"""The sample repository: made from `e2e/sample`, with its own address in place of the placeholder."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from hub.fleet.command import ended
from hub.fleet.errors import FleetError

PLACEHOLDER = "http://git.invalid/fleet.git"
SAMPLE = Path(__file__).resolve().parents[2] / "e2e" / "sample"
NAME = "fleet.git"
_TIMEOUT = 60.0


async def make_repository(repositories: Path, checkout: Path, *, url: str) -> None:
    """A bare repository below `repositories` and a clone of it in `checkout`, ready to commit and push.

    Does nothing where both are there: what people committed is theirs.
    """
    bare = repositories / NAME
    if not bare.exists():
        shutil.rmtree(checkout, ignore_errors=True)
        fresh = repositories / f".{NAME}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        await git("init", "--quiet", "--bare", "--initial-branch=main", str(fresh))
        copy_sample(checkout, url=url)
        await git("init", "--quiet", "--initial-branch=main", str(checkout))
        await _identity(checkout)
        await git("-C", str(checkout), "add", "--all")
        await git("-C", str(checkout), "commit", "--quiet", "--message", "The sample fleet")
        await git("-C", str(checkout), "push", "--quiet", str(fresh), "main")
        fresh.rename(bare)
    own = checkout / ".git"
    if not own.exists():
        await git("clone", "--quiet", str(bare), str(checkout))
        await _identity(checkout)
    await _follow(checkout, url)


def copy_sample(target: Path, *, url: str) -> None:
    """The sample's files, the placeholder replaced."""
    for source in sorted(SAMPLE.rglob("*")):
        if source.is_file():
            path = target / source.relative_to(SAMPLE)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source.read_text().replace(PLACEHOLDER, url))


async def _identity(checkout: Path) -> None:
    """An author for commits in this clone alone; a machine without one can commit, too."""
    await git("-C", str(checkout), "config", "user.name", "axletree")
    await git("-C", str(checkout), "config", "user.email", "axletree@localhost")


async def _follow(checkout: Path, url: str) -> None:
    """So that a bare `git push` works: where main goes, and that no proxy is before what is on loopback."""
    settings = {
        "remote.origin.url": url,
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        "branch.main.remote": "origin",
        "branch.main.merge": "refs/heads/main",
        "http.proxy": "",
    }
    for key, value in settings.items():
        await git("-C", str(checkout), "config", key, value)


async def git(*arguments: str, check: bool = True) -> str:
    """Run git without the user's configuration; its output, stripped."""
    process = await asyncio.create_subprocess_exec(
        "git",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        },
    )
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            await ended(process)
    if check and process.returncode != 0:
        raise FleetError(f"git {arguments[0]} failed: {errors.decode(errors='replace').strip()}")
    return out.decode(errors="replace").strip()
