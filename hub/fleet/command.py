"""Run a program to its end, within a time, and keep what it said."""

from __future__ import annotations

import asyncio

from hub.fleet.errors import FleetError


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
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")
