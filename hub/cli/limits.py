"""Limits of time and memory on templates that the command renders itself: a file may come from anybody."""

from __future__ import annotations

import resource
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hub.core.expansion import Expansion, TemplateError, revision_key
from hub.render.runner import InlineRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.core.expansion import ExpandRequest
    from hub.core.needs import Needs
    from hub.render.programs import Programs

SECONDS = 20.0
"""As long as the hub's workers have."""
MEMORY = 1024 * 1024 * 1024
"""As many bytes more than the command has already."""
_SIZE = Path("/proc/self/statm")


class TimedRunner(InlineRunner):
    """Runs in this process, but not for ever."""

    def __init__(self, programs: Programs | None = None, *, seconds: float = SECONDS) -> None:
        super().__init__(programs)
        self._seconds = seconds

    async def expand(self, request: ExpandRequest) -> Expansion | Needs:
        try:
            with within(self._seconds), at_most(MEMORY):
                return await super().expand(request)
        except TimeoutError as error:
            raise TemplateError(str(error), set_key=request.set_key) from error
        except MemoryError as error:
            raise TemplateError(
                f"it takes more than {MEMORY >> 20} MB of memory", set_key=request.set_key
            ) from error


class RepeatedRunner(TimedRunner):
    """Remembers each set's last expansion: most changes are of what apps are made of, and make the same children."""

    def __init__(self, programs: Programs | None = None) -> None:
        super().__init__(programs)
        self._last: dict[str, tuple[ExpandRequest, Expansion]] = {}

    async def expand(self, request: ExpandRequest) -> Expansion | Needs:
        asked = replace(
            request, listings={key: replace(each, commit="") for key, each in request.listings.items()}
        )
        last, known = self._last.get(request.set_key, (None, None))
        if known is not None and asked == last:
            commits = {revision_key(*key): each.commit for key, each in request.listings.items()}
            return replace(known, revisions={key: commits[key] for key in known.revisions})
        found = await super().expand(request)
        if isinstance(found, Expansion):
            self._last[request.set_key] = asked, found
        return found


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in this thread's code after so many seconds of the processor; none outside a main thread.

    What is computed counts, and not what a busy machine takes for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:  # noqa: ARG001 - a signal handler's arguments
        raise TimeoutError(f"it takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let the process take so many bytes more: beyond that there is a MemoryError. No limit where none can be set."""
    if not _SIZE.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(_SIZE.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + size
    known = [each for each in (soft, hard) if each != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([limit, *known]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
