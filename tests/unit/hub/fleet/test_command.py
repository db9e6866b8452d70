"""Programs that are run to their end, or ended."""

from __future__ import annotations

import asyncio

import pytest

from hub.fleet.command import CommandTimeoutError, ended, run


async def test_what_nobody_reads_any_more_does_not_hold_up_the_end() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("cat", "/dev/zero", stdout=pipe, stderr=pipe)
    async with asyncio.timeout(60):
        while not process.stdout._paused:  # type: ignore[union-attr]  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    await asyncio.wait_for(ended(process), 60)
    assert process.returncode == -9


async def test_a_program_that_takes_too_long_is_ended_and_told() -> None:
    with pytest.raises(CommandTimeoutError, match="`sleep 1000` took more than 0 s"):
        await run("sleep", "1000", seconds=0.1)
    assert await run("sh", "-c", "echo out; echo err >&2; exit 3", seconds=60) == (3, "out\nerr\n")
