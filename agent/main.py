"""`axle-agent run --config FILE [--config FILE ...]`: one process, one or many agents, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from agent.agent import Agent
from agent.config import load_config
from agent.contract.errors import AxletreeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.config import AgentConfig

logger = logging.getLogger("agent")

_FAILED, _MISUSED = 1, 2


class JsonLines(logging.Formatter):
    """One JSON object a line: what log collectors on a cluster read without a configuration."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. The exit code is 0 after a clean stop, 1 after a failure, 2 for misuse."""
    parser = argparse.ArgumentParser(prog="axle-agent", description="The pull agent of an Axletree spoke.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve one or more clusters until SIGTERM")
    run.add_argument(
        "--config", type=Path, action="append", required=True, help="a file; repeat for more agents"
    )
    run.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    options = parser.parse_args(argv)
    _log_to_stderr(options.log_level)
    try:
        configs = [load_config(path) for path in options.config]
    except AxletreeError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message is for the person who wrote the file
        return _MISUSED
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(configs))


async def serve(configs: Sequence[AgentConfig]) -> int:
    """Run the agents until SIGTERM or SIGINT; one that fails for good ends the process, to be started again."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    agents = [Agent(config) for config in configs]
    tasks = {asyncio.create_task(agent.run(), name=f"agent {agent.cluster}") for agent in agents}
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await asyncio.gather(*(agent.stop() for agent in agents))
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
    failed = [task for task in done & tasks if not task.cancelled() and task.exception() is not None]
    for task in failed:
        error = task.exception()
        expected = isinstance(error, AxletreeError)
        logger.error("%s: %s", task.get_name(), error, exc_info=None if expected else error)
    return _FAILED if failed else 0


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


if __name__ == "__main__":
    sys.exit(main())
