"""Exit codes, and how a failure that was foreseen is told: one line, no traceback."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import typer

from agent.contract.errors import ApiError, AxletreeError
from hub.cli.output import err

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_NEGATIVE = 1
"""The answer is no: not healthy in time, nothing of that name, a cycle."""
EXIT_ERROR = 2
"""The question could not be asked: bad input, no hub."""
EXIT_INTERRUPTED = 130


def complain(message: str) -> None:
    """One failure, on stderr."""
    err.print(f"axle: {message}", style="red")


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn failures into a line and an exit code. What nobody foresaw keeps its traceback."""
    try:
        yield
    except ApiError as error:
        complain(str(error))
        raise typer.Exit(EXIT_ERROR) from error
    except AxletreeError as error:
        complain(f"{error.reason}: {error}")
        raise typer.Exit(EXIT_ERROR) from error
    except BaseExceptionGroup as group:
        # Of work that ran side by side: the first that was foreseen speaks for all.
        known, unknown = group.split(AxletreeError)
        if known is None or unknown is not None:
            raise
        first = _first(known)
        complain(f"{getattr(first, 'reason', 'Error')}: {first}")
        raise typer.Exit(EXIT_ERROR) from group
    except OSError as error:
        # A file or folder that a person named, or that $AXLETREE_HOME did: it is theirs to correct.
        if error.filename is None:
            raise
        complain(f"FileFailed: {error.filename}: {error.strerror or error}")
        raise typer.Exit(EXIT_ERROR) from error
    except KeyboardInterrupt as error:
        complain("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from error


def _first(group: BaseExceptionGroup[AxletreeError]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
