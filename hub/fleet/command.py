"""Run a program to its end, within a time, and keep what it said."""

from __future__ import annotations

import asyncio
import contextlib

from hub.fleet.errors import FleetError

_CHUNK = 1 << 16


class CommandTimeoutError(FleetError):
    """A program took longer than it may."""

    reason = "CommandTimeout"


async def run(*argv: str, seconds: float) -> tuple[int, str]:
    """Its exit code and its whole output, both streams together. Raises `OSError` if it cannot be run."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    except TimeoutError as e:
        raise CommandTimeoutError(f"`{' '.join(argv[:4])}` took more than {seconds:.0f} s") from e
    finally:
        if process.returncode is None:
            await ended(process)
    return process.returncode or 0, output.decode(errors="replace")


async def ended(process: asyncio.subprocess.Process) -> None:
    """Kill it, and wait until it is gone. Of what nobody reads any more, asyncio alone would wait for the end."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                while await stream.read(_CHUNK):
                    pass
    await process.wait()
