"""A real PostgreSQL, Debian's, in a folder of its own and on a socket of its own, for as long as it is wanted."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 90.0


class Postgres:
    """One server, which may die and come back with what it had."""

    def __init__(self, folder: Path) -> None:
        self.url = f"postgresql://axle@/postgres?host={folder}"
        self._folder, self._user, self._programs = folder, _user(), _programs()
        self._server: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(folder, self._user, -1)
        make = [self._programs / "initdb", "-D", folder / "data", "-U", "axle", "--auth=trust", "--no-sync"]
        subprocess.run([*make, "-E", "UTF8"], check=True, capture_output=True, user=self._user, cwd=folder)

    def start(self) -> None:
        folder = self._folder
        options = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off")
        with (folder / "log").open("wb") as out:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", folder / "data", *options],
                stdout=out,
                stderr=out,
                user=self._user,
                cwd=folder,
            )
        _wait(folder, self._server)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGTERM would wait for whoever is still connected; after SIGQUIT there is something to recover."""
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(SECONDS)
            (self._folder / ".s.PGSQL.5432").unlink(missing_ok=True)
            self._server = None


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server that runs. Raises where `scripts/postgres` has to be run first."""
    folder = Path(tempfile.mkdtemp(prefix="axletree-postgres-"))
    try:
        made = Postgres(folder)
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database."""
    with postgres_server() as made:
        yield made.url


def _wait(folder: Path, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while not (folder / ".s.PGSQL.5432").exists() or b"ready to accept" not in (folder / "log").read_bytes():
        if server.poll() is not None or time.monotonic() > deadline:
            raise AssertionError((folder / "log").read_text()[-2000:])
        time.sleep(0.05)


def _programs() -> Path:
    """Where Debian keeps them: by version, beside the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[4]))
    if not found:
        raise AssertionError("PostgreSQL is not installed: run scripts/postgres")
    return found[-1].parent


def _user() -> int | None:
    """It does not run as root: Debian's package brings an account for it."""
    return pwd.getpwnam("postgres").pw_uid if os.getuid() == 0 else None
