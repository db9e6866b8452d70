"""A real S3 server on loopback: versitygw over a folder, built from its Go module once."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hub.fleet.tools import ensure_tools
from tests.integration.hub_rig import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "versitygw"
SOURCE = Path(__file__).parent / "s3server"
SECONDS = 120.0


def s3_program() -> Path:
    """Built at the first use on a machine, which takes minutes."""
    return asyncio.run(ensure_tools(source=SOURCE, names=NAME)) / NAME


@contextmanager
def s3_server(program: Path, bucket: str) -> Iterator[dict[str, str]]:
    """The environment by which clients find it, with one empty bucket. It checks signatures."""
    with tempfile.TemporaryDirectory(prefix="axletree-s3-") as text:
        folder, port, secret = Path(text), free_port(), secrets.token_hex(16)
        (folder / "data" / bucket).mkdir(parents=True)
        login = ("--access", "axle", "--secret", secret, "--region", "us-east-1")
        with (folder / "log").open("wb") as out:
            server = subprocess.Popen(
                [program, *login, "--port", f"127.0.0.1:{port}", "--quiet", "posix", folder / "data"],
                stdout=out,
                stderr=out,
            )
        try:
            _wait(port, server, folder / "log")
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "axle",
                "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_REGION": "us-east-1",
            }
        finally:
            server.terminate()
            server.wait(SECONDS)


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers, if only that nobody may ask without a signature."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).close()
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from error
            time.sleep(0.05)
        else:
            return
