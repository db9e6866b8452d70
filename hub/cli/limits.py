"""A limit of time on templates that the command renders itself: a file may come from anybody."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hub.core.expansion import TemplateError
from hub.render.runner import InlineRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.core.expansion import ExpandRequest, Expansion, Needs
    from hub.render.programs import Programs

SECONDS = 20.0
"""As long as the hub's workers have."""


class TimedRunner(InlineRunner):
    """Runs in this process, but not for ever."""

    def __init__(self, programs: Programs | None = None, *, seconds: float = SECONDS) -> None:
        super().__init__(programs)
        self._seconds = seconds

    async def expand(self, request: ExpandRequest) -> Expansion | Needs:
        try:
            with within(self._seconds):
                return await super().expand(request)
        except TimeoutError as error:
            raise TemplateError(str(error), set_key=request.set_key) from error


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in this thread's code after so long; no limit outside of a process's main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:  # noqa: ARG001 - a signal handler's arguments
        raise TimeoutError(f"it takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
