"""`python -m tests.bench`: measure, and print the figures beside their targets.

A missed target is told and is no failure; the exit code is 0 unless something could not be measured, or a small
event costs more in a larger fleet.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from rich.console import Console

from agent.contract.errors import AxletreeError
from hub.fleet.build import ensure_binary
from hub.fleet.controlplane import ControlPlane
from hub.fleet.process import end_in_order, recorded
from tests.bench import agentrows, api, engine, fetching, reconnect, rendering, report, w30, w50
from tests.bench.marks import BenchFailed
from tests.bench.measure import machine
from tests.bench.options import Options
from tests.bench.rows import ROWS, Result

if TYPE_CHECKING:
    from tests.bench.rows import Sample

FOLDER = Path(__file__).resolve().parents[2] / ".bench"
_PREFIX = "axletree-bench-"
_OWNER = "owner.lock"
_GRACE = 10.0


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose id or name this finds")
    parser.add_argument("--list", action="store_true", help="print the rows' ids and end")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each timed row; the median counts")
    parser.add_argument("--edits", type=int, default=20, help="objects edited for the drift row")
    parser.add_argument("--agent-processes", type=int, default=1, help="how many share the 50 agents")
    parser.add_argument("--jinja", action="store_true", help="W50 with content that differs by cluster")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="cProfile of hub and agents in .bench/profile; keeps no results",
    )
    parser.add_argument("--lean", action="store_true", help="fewer watches of its own, and so fewer phases")
    return parser.parse_args(argv)


async def measure(options: Options) -> dict[str, list[Sample]]:
    """The samples of every wanted row, by its id."""
    samples: dict[str, list[Sample]] = {}
    for scenario in (w50, w30, agentrows, reconnect, rendering, fetching, engine, api):
        if options.wants(*scenario.ROWS):
            samples |= await scenario.run(options)
    return samples


async def main(args: argparse.Namespace, console: Console) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await _sweep()
    found = machine()
    console.print("  ".join(f"{name}: {value}" for name, value in found.items()))
    console.print(f"load average at the start: {os.getloadavg()[0]:.1f}")
    binary = await ensure_binary()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as text:
        root = Path(text)
        with (root / _OWNER).open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)  # for as long as this run lives
            profiles = FOLDER / "profile" if args.profile else None
            options = Options(
                root=root,
                binary=binary,
                note=lambda line: console.print(f"[dim]{line}[/]"),
                only=args.only,
                repeats=args.repeats,
                edits=args.edits,
                agent_processes=args.agent_processes,
                jinja=args.jinja,
                profiles=profiles,
                lean=args.lean,
            )
            samples = await measure(options)
    results = [Result(row, samples[row.id]) for row in ROWS if options.wants(row) and samples.get(row.id)]
    for each in results:
        report.show_phases(console, each)
    console.print()
    report.show_table(console, results, report.previous(FOLDER))
    if not args.profile and not args.jinja:
        report.keep(FOLDER, results, found)
    failures = [sample.failure for each in results for sample in each.samples if sample.failure]
    if failures:
        raise BenchFailed("\n".join(failures))


def _left() -> list[Path]:
    """The locks of runs that have ended or not."""
    return list(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNER}"))


async def _sweep() -> None:
    """End what runs left that were killed before they could: their lock is free."""
    for lock in _left():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), lock.open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for services in lock.parent.glob("*/services"):
                await end_in_order(recorded(services), [], grace=_GRACE)
            for run in lock.parent.glob("*/*/run"):
                await ControlPlane(run.parent.name, run.parent, Path(), workloads=False).stop()
            shutil.rmtree(lock.parent, ignore_errors=True)


if __name__ == "__main__":
    out = Console(width=max(120, Console().width))
    parsed = arguments()
    if parsed.list:
        for each in ROWS:
            out.print(f"{each.id:12} {each.name}")
        sys.exit(0)
    try:
        uvloop.run(main(parsed, out))
    except (KeyboardInterrupt, asyncio.CancelledError):
        out.print("stopped; everything that was started is ended")
        sys.exit(130)
    except (AxletreeError, BenchFailed) as failure:
        out.print(f"[red]{type(failure).__name__}[/]: {failure}", markup=True)
        sys.exit(1)
