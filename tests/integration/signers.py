"""People who sign: with SSH keys, with OpenPGP keys of a home of their own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.git_rig import Author

_SECONDS = 120.0
_EARLIER = "20200101T000000"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who may sign commits of an author: `public` is what a project trusts."""

    public: str
    config: tuple[tuple[str, str], ...]

    async def take(self, author: Author) -> None:
        for key, value in (*self.config, ("commit.gpgsign", "true")):
            await author.git("config", key, value)


async def sign_nothing(author: Author) -> None:
    await author.git("config", "commit.gpgsign", "false")


def ssh_signer(folder: Path, name: str, kind: str = "ed25519") -> Signer:
    path = folder / f"{name}-{kind}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{name}@example.com", "-f", str(path)], check=True
    )
    config = (("gpg.format", "ssh"), ("user.signingkey", str(path)))
    return Signer(path.with_suffix(".pub").read_text(), config)


class PgpHome:
    """A home for `gpg`, with a short path: its agent's socket has little room. Close it, or the agent stays."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="gpg-", dir="/tmp"))
        self.program = self._program("gpg-here")
        self._earlier = self._program("gpg-earlier", f"--faked-system-time {_EARLIER}")
        # Whoever needs the agent first starts it, and waits for it five seconds.
        agent = ["gpg-agent", "--homedir", str(self.path), "--daemon"]
        quiet = subprocess.DEVNULL  # it goes on, and would hold a pipe open
        subprocess.run(agent, check=True, timeout=_SECONDS, stdin=quiet, stdout=quiet, stderr=quiet)

    def _program(self, name: str, options: str = "") -> Path:
        program = self.path / name
        program.write_text(f'#!/bin/sh\nexec gpg --homedir {self.path} --batch {options} "$@"\n')
        program.chmod(0o755)
        return program

    def run(self, *args: str, stdin: str = "", program: Path | None = None) -> str:
        done = subprocess.run(
            [str(program or self.program), *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def signer(self, name: str, *, expired: bool = False) -> Signer:
        """`expired`: a key of long ago, for a day, and who signs with it does so on that day."""
        mail = f"{name}@example.com"
        program, valid = (self._earlier, "1d") if expired else (self.program, "0")
        made = ("--passphrase", "", "--quick-generate-key", mail, "ed25519", "sign", valid)
        self.run(*made, program=program)
        config = (("gpg.format", "openpgp"), ("gpg.program", str(program)), ("user.signingkey", mail))
        return Signer(self.run("--armor", "--export", mail), config)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.path), "--kill", "all"], check=False)
        shutil.rmtree(self.path, ignore_errors=True)
