from __future__ import annotations

import asyncio
import os
import platform
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hub.fleet import process
from hub.fleet.errors import FleetExistsError, ProcessExitedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SLEEP = ["sleep", "1000"]
STARTER = """
import sys, time
from pathlib import Path
from hub.fleet.process import spawn
spawn("left", ["sleep", "1000"], folder=Path(sys.argv[1]))
print("started", flush=True)
time.sleep(1000)
"""


def until(condition: Callable[[], bool], *, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def gone(one: process.Process) -> bool:
    return until(lambda: not one.alive())


async def test_a_child_is_found_again_by_its_record_and_ended(tmp_path: Path) -> None:
    child = process.spawn("one", SLEEP, folder=tmp_path)
    (found,) = process.recorded(tmp_path)
    assert found == child
    assert found.alive()
    assert os.getsid(child.identity.pid) == child.identity.pid
    assert await process.end(found, grace=60)
    assert not found.alive()
    assert process.recorded(tmp_path) == []


async def test_what_a_killed_starter_left_behind_is_ended(tmp_path: Path) -> None:
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout is not None
    assert await starter.stdout.readline() == b"started\n"
    starter.kill()
    await starter.communicate()
    (left,) = process.recorded(tmp_path)
    assert left.alive()
    await process.end(left, grace=60)
    assert not left.alive()


async def test_the_child_of_a_killed_starter_that_has_not_recorded_itself_yet_is_waited_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "slow.pid.new").touch()  # as it is between the starter's last step and the child's first
    ended = asyncio.create_task(process.settled(tmp_path))
    await asyncio.sleep(0)
    assert not ended.done()
    child = process.spawn("slow", SLEEP, folder=tmp_path)
    assert await ended == [child]
    await process.end(child, grace=5)
    assert await process.settled(tmp_path / "nothing") == []


async def test_a_starter_that_was_killed_before_there_was_a_child_is_not_waited_for_for_ever(
    tmp_path: Path,
) -> None:
    (tmp_path / "none.pid.new").touch()
    assert await process.settled(tmp_path, wait=0.1) == []
    assert not (tmp_path / "none.pid.new").exists()


async def test_a_process_with_a_used_again_pid_is_never_touched(tmp_path: Path) -> None:
    bystander = process.spawn("bystander", SLEEP, folder=tmp_path / "elsewhere")
    stat = (tmp_path / "elsewhere" / "bystander.pid").read_text().splitlines()
    fields = stat[1].rpartition(")")[2].split()
    fields[19] = str(int(fields[19]) - 1)  # the pid of one that started a tick earlier
    (tmp_path / "old.pid").write_text(f"{stat[0]}\n{bystander.identity.pid} (x) {' '.join(fields)}\n")
    (old,) = process.recorded(tmp_path)
    assert old.identity.pid == bystander.identity.pid
    assert not old.alive()
    await process.end(old, grace=60)
    assert bystander.alive()
    assert process.recorded(tmp_path) == []
    await process.end(bystander, grace=60)


async def test_a_record_from_before_a_reboot_names_nobody(tmp_path: Path) -> None:
    child = process.spawn("one", SLEEP, folder=tmp_path)
    record = tmp_path / "one.pid"
    before = record.read_text()
    record.write_text("\n".join(["00000000-another-boot", *before.splitlines()[1:]]))
    (found,) = process.recorded(tmp_path)
    assert not found.alive()
    record.write_text(before)
    await process.end(child, grace=60)


async def test_one_that_ignores_the_request_is_killed_with_its_children(tmp_path: Path) -> None:
    script = 'trap "" TERM; sleep 1000 & echo $! > child; touch ready; while :; do sleep 0.1; done'
    child = process.spawn("stubborn", ["sh", "-c", script], folder=tmp_path, cwd=tmp_path)
    assert until((tmp_path / "ready").exists)
    assert not await process.end(child, grace=0.2)
    assert not child.alive()
    grandchild = int((tmp_path / "child").read_text())
    assert until(lambda: _state(grandchild) in {"", "Z"})


async def test_one_that_ends_at_once_was_started_all_the_same(tmp_path: Path) -> None:
    for _ in range(100):  # also where it is gone before anybody looks for its record
        child = process.spawn("short", ["true"], folder=tmp_path)
        assert gone(child)


async def test_a_second_start_of_a_running_one_is_refused(tmp_path: Path) -> None:
    child = process.spawn("one", SLEEP, folder=tmp_path)
    with pytest.raises(FleetExistsError, match="already runs"):
        process.spawn("one", SLEEP, folder=tmp_path)
    await process.end(child, grace=60)


async def test_a_program_that_is_not_there_is_told_by_its_log(tmp_path: Path) -> None:
    child = process.spawn("none", ["/no/such/program"], folder=tmp_path)
    assert gone(child)
    assert "/no/such/program" in process.log_tail(tmp_path, "none")
    await process.end(child, grace=60)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProcessExitedError):
        process.spawn("one", SLEEP, folder=tmp_path, cwd=tmp_path / "missing")


async def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    for word in ("first", "second"):
        assert gone(process.spawn("talker", ["echo", word], folder=tmp_path))
    assert (tmp_path / "talker.log").read_text() == "second\n"
    assert (tmp_path / "talker.log.1").read_text() == "first\n"


async def test_groups_end_one_after_the_other_and_strangers_first(tmp_path: Path) -> None:
    script = 'trap "date +%s%N > $1; exit" TERM; touch $1.ready; while :; do sleep 0.02; done'
    names = ("store", "server", "manager", "other")
    for name in names:
        process.spawn(name, ["sh", "-c", script, "sh", name], folder=tmp_path, cwd=tmp_path)
    assert until(lambda: all((tmp_path / f"{name}.ready").exists() for name in names))
    order = [frozenset({"manager"}), frozenset({"server"}), frozenset({"store"})]
    await process.end_in_order(process.recorded(tmp_path), order, grace=60)
    ended = {name: int((tmp_path / name).read_text()) for name in names}
    assert sorted(names, key=ended.__getitem__) == ["other", "manager", "server", "store"]


async def test_one_runs_until_its_last_thread_is_gone(tmp_path: Path) -> None:
    exits = {"x86_64": 60}.get(platform.machine(), 93)  # of a thread, not of the process
    code = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(1000,)).start(); "
    code += f"ctypes.CDLL(None).syscall({exits}, 0)"
    child = process.spawn("one", [sys.executable, "-c", code], folder=tmp_path)
    assert until(lambda: _state(child.identity.pid) == "Z")
    assert child.alive(), "what it listens on is still taken"
    assert await process.end(child, grace=60)
    assert _state(child.identity.pid) == ""


async def test_an_ended_child_is_reaped(tmp_path: Path) -> None:
    child = process.spawn("short", ["true"], folder=tmp_path)
    assert gone(child)
    with pytest.raises(ProcessLookupError):
        os.kill(child.identity.pid, 0)


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
