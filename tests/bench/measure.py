"""What processes took and hold, from /proc, and what machine this is."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Memory:
    """Of some processes together, in bytes. What they share counts in `rss` for each of them."""

    rss: int
    pss: int


def family(roots: Iterable[int], *, but: Iterable[int] = ()) -> set[int]:
    """These processes and everything that descends from them, less the families of `but`."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = int(fields[1])
    excluded = set(but)
    found = {pid for pid in roots if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found} - found - excluded:
        found |= more
    return found


def cpu_seconds(roots: Iterable[int], *, but: Iterable[int] = ()) -> float:
    """User and system time so far of these processes, their descendants, and the ones that have ended."""
    return sum(_cpu(pid) for pid in family(roots, but=but))


def memory(roots: Iterable[int]) -> Memory:
    """Of these processes and their descendants."""
    rss = pss = 0
    for pid in family(roots):
        try:
            lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes = {line.split(":")[0]: line.split() for line in lines[1:]}
        rss += int(sizes["Rss"][1]) * 1024
        pss += int(sizes["Pss"][1]) * 1024
    return Memory(rss, pss)


def machine_busy() -> float:
    """Seconds that all cores together were busy since boot, whoever made them so."""
    user, nice, system, _, _, irq, softirq, steal, *_ = (
        int(field) for field in (_PROC / "stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICK


class Meter:
    """CPU by part from its construction on; `parts` gives each part's processes by pid.

    A process that is named itself counts there, and not with the one that started it.
    """

    def __init__(self, parts: Mapping[str, Iterable[int]]) -> None:
        self._parts = {name: frozenset(pids) for name, pids in parts.items()}
        self._named = frozenset().union(*self._parts.values())
        self._before, self._begun = self._read(), time.perf_counter()

    def read(self) -> tuple[dict[str, float], float]:
        """Seconds of CPU by part, and the seconds that have passed."""
        passed = time.perf_counter() - self._begun
        return {name: value - self._before[name] for name, value in self._read().items()}, passed

    def _read(self) -> dict[str, float]:
        found = {name: cpu_seconds(pids, but=self._named - pids) for name, pids in self._parts.items()}
        return found | {OTHERS: machine_busy() - sum(found.values())}


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(_first('/proc/meminfo', 'MemTotal').split()[0]) / 1e6:.1f} GB",
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _stat(pid: int) -> list[str] | None:
    """The fields after the command's name, of which the state is the first."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _cpu(pid: int) -> float:
    fields = _stat(pid)
    return 0.0 if fields is None else sum(int(field) for field in fields[11:15]) / _TICK
