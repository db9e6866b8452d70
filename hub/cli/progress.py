"""What a long command does, and how long it takes: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from hub.cli.output import err

if TYPE_CHECKING:
    from types import TracebackType

    from hub.fleet.build import Progress as BuildProgress

_EVERY = 15.0
"""Seconds between plain lines about one build: a log should not be a film."""


class Steps:
    """Notes of what is done next, each printed once with the time since the start. On stderr: it is no result."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._last = ""
        self._built: tuple[str, float] = ("", 0.0)
        self._live: Progress | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __enter__(self) -> Self:
        if err.is_terminal:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                console=err,
                transient=True,
            )
            self._task = self._live.add_task("starting", total=None)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Say what happens now; a repetition is not printed again."""
        if text == self._last:
            return
        self._last = text
        if self._live is not None:
            self._live.update(self._task, description=text, total=None, completed=0)
        err.print(f"{self.seconds:7.1f} s  {text}")

    def build(self, progress: BuildProgress) -> None:
        """How far a build is: a bar where there is a terminal."""
        if self._live is not None:
            self._live.update(
                self._task,
                description=progress.stage,
                total=progress.total or None,
                completed=progress.done,
            )
            return
        stage, when = self._built
        if progress.stage != stage or self.seconds - when > _EVERY:
            self._built = (progress.stage, self.seconds)
            count = f" {progress.done}/{progress.total}" if progress.total else ""
            err.print(f"{self.seconds:7.1f} s  {progress.stage}{count}")
