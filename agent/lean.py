"""How the agent is to be started, so that it stays small. Imports nothing: what it imports is loaded twice."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LEAN = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "524288",
    "MALLOC_MMAP_THRESHOLD_": "327680",
    "PYTHONOPTIMIZE": "2",
    "PYTHONNODEBUGRANGES": "1",
    "FROZENLIST_NO_EXTENSIONS": "1",
    "UV_THREADPOOL_SIZE": "2",
    "PYTHONTZPATH": "",
}
"""One heap, which gives back what a burst took, since one thread does all the work here, and in which there is room
for the 256 KiB that uvloop takes for each read of a TLS connection, and gives back at once: mapped afresh each time
they cost a third of all CPU of a request; no docstrings and columns in
it; no C++ library for a list that aiohttp never fills, two threads for the two names that are looked up (neither
holds up the other), and no look at how Python was built to find time zones that nobody asks for."""


def lean() -> None:
    """Start afresh unless that is how this process was started."""
    if not LEAN.keys() <= os.environ.keys():
        os.environ.update({name: value for name, value in LEAN.items() if name not in os.environ})
        afresh()


def afresh() -> NoReturn:
    """Start this very command line again, in the same process."""
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - our own
