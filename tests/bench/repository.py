"""What is deployed: a Git repository of ConfigMaps, and a server of it that knows when it was asked."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from hub.fleet.githttp import GitServer
from hub.fleet.sample import git
from tests.bench.marks import Step, clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from aiohttp import web

BRANCH = "main"
LABEL = "bench"
NAME = "fleet.git"
_PAYLOAD = 1800


def config_map(name: str, seed: str, *, template: str = "") -> str:
    """About 2 KB of YAML that says `seed`; `template` is written into it as it is."""
    text = "".join(hashlib.sha256(f"{name} {seed} {index}".encode()).hexdigest() for index in range(32))
    lines = "\n".join(f"    {text[at : at + 72]}" for at in range(0, _PAYLOAD, 72))
    extra = f'  cluster: "{template}"\n' if template else ""
    return (
        "apiVersion: v1\nkind: ConfigMap\n"
        f'metadata:\n  name: {name}\n  labels: {{{LABEL}: "yes"}}\n'
        f'data:\n  seed: "{seed}"\n{extra}  payload: |\n{lines}\n'
    )


class Repository:
    """A bare repository and a clone in which commits are made."""

    def __init__(self, root: Path) -> None:
        self.served = root / "git"
        self._bare = self.served / NAME
        self._checkout = root / "checkout"

    async def create(self, files: Mapping[str, str]) -> None:
        self.served.mkdir(parents=True)
        await git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(self._bare))
        await git("init", "--quiet", f"--initial-branch={BRANCH}", str(self._checkout))
        for key, value in {"user.name": "bench", "user.email": "bench@localhost"}.items():
            await git("-C", str(self._checkout), "config", key, value)
        await self.commit(files)

    async def commit(self, files: Mapping[str, str]) -> str:
        """Write these files, commit and push; the commit's id."""
        for name, text in files.items():
            path = self._checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        at = ("-C", str(self._checkout))
        await git(*at, "add", "--all")
        await git(*at, "commit", "--quiet", "--message", "change")
        await git(*at, "push", "--quiet", str(self._bare), BRANCH)
        return await git(*at, "rev-parse", "HEAD")

    def delete(self) -> None:
        for path in (self.served, self._checkout):
            shutil.rmtree(path, ignore_errors=True)


class TimedGitServer(GitServer):
    """Tells `note` when a request begins and when its answer is complete."""

    def __init__(self, root: Path, *, note: Callable[[Step, float, str], None]) -> None:
        super().__init__(root)
        self._note = note

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        what = f"{request.method} {request.path}"
        self._note(Step.GIT_ASKED, clock(), what)
        try:
            return await super()._handle(request)
        finally:
            self._note(Step.GIT_SERVED, clock(), what)
