"""The process of one or many agents: its command line, its log, and its end by SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from agent import logs
from agent.agent import Agent
from agent.config import load_config
from agent.contract.errors import AxletreeError
from agent.lean import afresh

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("agent")

_OK, _FAILED, _MISUSED, _AFRESH = 0, 1, 2, 3


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line. The exit code is 0 after a clean stop, 1 after a failure, 2 for misuse."""
    parser = argparse.ArgumentParser(prog="axle-agent", description="The pull agent of an Axletree spoke.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="serve one or more clusters until SIGTERM")
    command.add_argument(
        "--config", type=Path, action="append", required=True, help="a file; repeat for more agents"
    )
    command.add_argument(
        "--health-port", type=int, default=0, help="answer /livez and /readyz on this port; 0 on none"
    )
    command.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    options = parser.parse_args(argv)
    logs.setup(options.log_level)
    try:
        configs = [load_config(path) for path in options.config]
    except AxletreeError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message is for the person who wrote the file
        return _MISUSED
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(serve([Agent(config) for config in configs], health_port=options.health_port))
    if code == _AFRESH:
        afresh()
    return code


async def serve(agents: Sequence[Agent], *, health_port: int = 0) -> int:
    """Run the agents, and answer probes where that is asked."""
    if not health_port:
        return await _serve(agents)
    from agent.probe import Probe  # noqa: PLC0415 - only in a Pod

    probe = Probe(agents)
    try:
        await probe.open(health_port)
    except OSError as error:
        logger.error("the health port %d: %s", health_port, error)  # noqa: TRY400 - it says all
        return _MISUSED
    try:
        return await _serve(agents)
    finally:
        probe.close()


async def _serve(agents: Sequence[Agent]) -> int:
    """Run the agents until SIGTERM or SIGINT; one that fails for good ends the process, to be started again.

    One whose cluster was removed ends by itself, and with the last of them the process, which has nothing to do.

    A process that has just joined its one cluster asks to start afresh: what a join needs (X.509) would take
    5 MB of it for the rest of its life.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = {asyncio.create_task(agent.run(), name=f"agent {agent.cluster}") for agent in agents}
    stopping = asyncio.create_task(stop.wait())
    enrolled = asyncio.create_task(agents[0].enrolled.wait() if len(agents) == 1 else asyncio.Event().wait())
    running, done = set(tasks), set[asyncio.Task[Any]]()
    while running and not done - tasks and not any(task.cancelled() or task.exception() for task in done):
        done, _ = await asyncio.wait({stopping, enrolled, *running}, return_when=asyncio.FIRST_COMPLETED)
        running -= done
    stopping.cancel()
    enrolled.cancel()
    await asyncio.gather(*(agent.stop() for agent in agents))
    await asyncio.gather(stopping, enrolled, *tasks, return_exceptions=True)
    failed = [task for task in done & tasks if not task.cancelled() and task.exception() is not None]
    for task in failed:
        error = task.exception()
        logger.error(
            "%s: %s", task.get_name(), error, exc_info=None if isinstance(error, AxletreeError) else error
        )
    if failed:
        return _FAILED
    return _AFRESH if enrolled in done and stopping not in done else _OK
