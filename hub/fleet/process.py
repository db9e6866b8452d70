"""Child processes that outlive their starter, and can still be ended exactly.

A fleet must survive the command that started it, and a later command must be able to end it even if the first
one crashed at any instruction. So each child writes its own record before it becomes the program: a shell
prints its own line of /proc and then `exec`s, which keeps the pid and the start time; until it has, an empty file
says that one was begun. A pid alone is no identity, since pids are used again; pid, start time and boot together
are. Nothing is ever ended by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hub.fleet.errors import FleetExistsError, ProcessExitedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_RECORD_THEN_EXEC = (
    'record=$1; cd "$2" || exit; shift 2; '
    "read -r boot < /proc/sys/kernel/random/boot_id; read -r stat < /proc/$$/stat; "
    'printf "%s\\n%s\\n" "$boot" "$stat" > "$record.new" && mv "$record.new" "$record" && exec "$@"'
)
_SUFFIX = ".pid"
_BEGUN = f"{_SUFFIX}.new"
_POLL = 0.02
_KILL_WAIT = 30.0
_RECORD_WAIT = 10.0
"""A shell needs about a millisecond to write its record, unless the machine has much else to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process, unmistakably: `started` is in clock ticks since the boot named `boot`."""

    pid: int
    started: int
    boot: str


@dataclass(frozen=True, slots=True)
class Process:
    """A recorded child, of this process or of one that is gone."""

    name: str
    record: Path
    identity: Identity

    def alive(self) -> bool:
        return running(self.identity)


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Start `argv` in a session of its own, recorded in `folder`, its output in `folder`/`name`.log.

    The log of the run before is kept as `name`.log.1. `env` is added to this process's environment. Raises
    `FleetExistsError` if it already runs, and `ProcessExitedError` if it could not even be tried.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = (folder / f"{name}{_SUFFIX}").absolute()
    before = _read_record(record)
    if before is not None and running(before):
        raise FleetExistsError(f"{name} already runs from {folder} (pid {before.pid}): stop it first")
    record.unlink(missing_ok=True)
    log_file = log_path(folder, name)
    if log_file.exists():
        log_file.replace(log_file.with_suffix(".log.1"))
    begun = record.with_name(f"{name}{_BEGUN}")
    begun.touch()
    try:
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _RECORD_THEN_EXEC, "sh", str(record), str(cwd or "."), *argv],
            {**os.environ, **(env or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log_file), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE],  # Python ignores it, and children would inherit that
        )
        identity = _await_record(record, pid)
    except OSError:
        begun.unlink(missing_ok=True)
        raise
    if identity is None:
        begun.unlink(missing_ok=True)
        raise ProcessExitedError(f"{name} could not be started\n{log_tail(folder, name)}")
    return Process(name=name, record=record, identity=identity)


def recorded(folder: Path) -> list[Process]:
    """Every process whose record is in `folder`, dead or alive."""
    found = []
    for record in sorted(folder.glob(f"*{_SUFFIX}")):
        identity = _read_record(record)
        if identity is not None:
            found.append(Process(name=record.name.removesuffix(_SUFFIX), record=record, identity=identity))
    return found


async def settled(folder: Path, *, wait: float = _RECORD_WAIT) -> list[Process]:
    """`recorded`, once nothing is begun any more: the child of a starter that was killed records itself later."""
    deadline = time.monotonic() + wait
    while begun := _begun(folder):
        if time.monotonic() > deadline:  # the starter was killed before there was a child
            for each in begun:
                each.unlink(missing_ok=True)
            break
        await asyncio.sleep(_POLL)
    return recorded(folder)


async def end(process: Process, *, grace: float) -> bool:
    """End one process: SIGTERM, up to `grace` seconds, then SIGKILL to its whole session.

    Returns whether it ended by itself. The record goes last, so that a crash in here can be repeated.
    """
    polite = True
    if process.alive():
        _signal(process.identity, signal.SIGTERM)
        polite = await _ended(process, grace)
        if not polite:
            _signal(process.identity, signal.SIGKILL, group=True)
            if not await _ended(process, _KILL_WAIT):
                raise ProcessExitedError(
                    f"{process.name} (pid {process.identity.pid}) did not end on SIGKILL: "
                    "it is stuck in the kernel; look at `dmesg` and try again"
                )
    process.record.unlink(missing_ok=True)
    return polite


async def end_in_order(
    processes: Iterable[Process], order: Sequence[frozenset[str]], *, grace: float
) -> None:
    """End processes in groups by name, each group together and waited for; those not named go first."""
    left = list(processes)
    named = frozenset().union(*order)
    for group in (frozenset(one.name for one in left) - named, *order):
        async with asyncio.TaskGroup() as tasks:
            for process in left:
                if process.name in group:
                    tasks.create_task(end(process, grace=grace))


def running(identity: Identity) -> bool:
    """Whether exactly this process still runs; a zombie does not, and is reaped if it is our child.

    One whose first thread has ended is none yet: the others hold its ports and files until the last of them is gone.
    """
    if identity.boot != _BOOT_ID.read_text().strip():
        return False
    try:
        stat = Path(f"/proc/{identity.pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    found, state, threads = _parse_stat(stat)
    if found != (identity.pid, identity.started):
        return False
    if state in "ZX" and threads <= 1:
        _reaped(identity.pid)
        return False
    return True


def log_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"


def log_tail(folder: Path, name: str, *, lines: int = 15, limit: int = 65536) -> str:
    """Read the end of a process's output, for error messages."""
    path = log_path(folder, name)
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - limit))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join([f"{path}:", *text.splitlines()[-lines:]])


def _read_record(record: Path) -> Identity | None:
    try:
        boot, stat = record.read_text().splitlines()
        (pid, started), *_ = _parse_stat(stat)
    except (FileNotFoundError, ValueError, IndexError):
        return None
    return Identity(pid=pid, started=started, boot=boot)


def _begun(folder: Path) -> list[Path]:
    return list(folder.glob(f"*{_BEGUN}"))


def _await_record(record: Path, pid: int) -> Identity | None:
    """What the child writes of itself; None where it ended before it could."""
    while (identity := _read_record(record)) is None:
        if _reaped(pid):
            return _read_record(record)
        time.sleep(0.001)
    return identity


def _parse_stat(stat: str) -> tuple[tuple[int, int], str, int]:
    """Who it is (pid and start), its state, and how many threads it has."""
    # The second field is the command in parentheses, which may itself hold spaces and parentheses.
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    return (int(head.split(" ", 1)[0]), int(fields[19])), fields[0], int(fields[17])


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False  # another process's child


def _signal(identity: Identity, number: signal.Signals, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(identity.pid, number)
        else:
            os.kill(identity.pid, number)


async def _ended(process: Process, wait: float) -> bool:
    deadline = time.monotonic() + wait
    while process.alive():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL)
    return True
