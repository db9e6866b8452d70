"""`axle-agent run --config FILE [--config FILE ...]`: one process, one or many agents, until SIGTERM."""

from __future__ import annotations

import sys

from agent.lean import lean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. The exit code is 0 after a clean stop, 1 after a failure, 2 for misuse."""
    if argv is None:
        lean()
    from agent.spared import spared  # noqa: PLC0415 - a process that starts afresh would pay for it twice

    with spared():
        from agent.process import run  # noqa: PLC0415 - as above: half a second

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
