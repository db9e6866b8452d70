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

SECONDS = 30.0


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database. Raises where `scripts/postgres` has to be run first."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="axletree-postgres-"))
    try:
        user = _user()
        if user is not None:
            os.chown(folder, user, -1)
        data = folder / "data"
        make = [programs / "initdb", "-D", data, "-U", "axle", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder)
        options = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off")
        with (folder / "log").open("wb") as out:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *options], stdout=out, stderr=out, user=user, cwd=folder
            )
        try:
            _wait(folder, server)
            yield f"postgresql://axle@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # SIGTERM waits for whoever is still connected
            server.wait(SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
