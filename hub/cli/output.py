"""`-o table|json|yaml|name`, the same for every command that prints objects."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from agent.contract.names import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.contract.manifest import Manifest

_WIDE = 10_000
"""What is printed is as wide as it is: a pipe or a narrow terminal must not lose the end of a line."""

EXIT_PIPE = 141
"""As of a program that SIGPIPE ended: nothing was wrong with the question, nor is the answer no."""


def hang_up() -> NoReturn:
    """End quietly: whoever read the output has enough of it (`axle graph | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered must not fail again
    raise SystemExit(EXIT_PIPE)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        self.quiet = True
        hang_up()


out = _Console(soft_wrap=True, highlight=False, markup=False, emoji=False, width=_WIDE)
err = _Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)

STYLES = {
    "Healthy": "green",
    "Synced": "green",
    "Connected": "green",
    "running": "green",
    "Degraded": "red",
    "Failed": "red",
    "stopped": "red",
    "Missing": "yellow",
    "Stale": "yellow",
    "Pending": "yellow",
    "Blocked": "yellow",
    "OutOfSync": "yellow",
    "Deleting": "yellow",
    "Held": "yellow",
    "Progressing": "cyan",
    "Syncing": "cyan",
    "Suspended": "cyan",
    "Unknown": "magenta",
}
_GAP = "   "


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="How to print.")]


def styled(word: str) -> Text:
    """A status word in its colour; rich leaves the colour out where there is no terminal."""
    return Text(word, STYLES.get(word, ""))


def print_objects(
    objects: Sequence[Manifest],
    fmt: Format,
    *,
    columns: Sequence[str],
    row: Callable[[Manifest], Sequence[str]],
    single: bool = False,
) -> None:
    """A table, JSON (a `List`, or the object itself where one was asked for), YAML documents, or `kind/name`."""
    if fmt is Format.JSON:
        print_value(
            objects[0] if single else {"apiVersion": "v1", "kind": "List", "items": list(objects)}, fmt
        )
    elif fmt is Format.YAML:
        from agent.kube import yaml  # noqa: PLC0415 - 40 ms that only this format needs

        print(yaml.dump_all(list(objects)), end="")
    elif fmt is Format.NAME:
        for obj in objects:
            print(name_of(obj))
    else:
        print_table(columns, [row(obj) for obj in objects])


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str = "") -> None:
    """As kubectl prints: as wide as it needs to be, so that pipes and narrow terminals lose nothing."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for number, cells in enumerate([columns, *rows]):
        line = Text(indent)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            last = index == len(widths) - 1
            line.append(cell, style="bold" if number == 0 else STYLES.get(cell, ""))
            line.append("" if last else " " * (width - len(cell)) + _GAP)
        line.rstrip()
        out.print(line)


def print_value(value: Any, fmt: Format) -> None:
    """One value as YAML, or as JSON in every other format."""
    if fmt is Format.YAML:
        from agent.kube import yaml  # noqa: PLC0415 - 40 ms that only this format needs

        print(yaml.dump(value), end="")
    else:
        print(json.dumps(value, indent=2, ensure_ascii=False))


def name_of(obj: Manifest) -> str:
    """`application.axletree.dev/shop/web`: what `-o name` prints."""
    metadata = obj["metadata"]
    group = obj.get("apiVersion", "").partition("/")[0]
    kind = f"{obj.get('kind', '').lower()}.{group}"
    namespace = metadata.get("namespace")
    return f"{kind}/{namespace}/{metadata['name']}" if namespace else f"{kind}/{metadata['name']}"


def name_of_app(key: str) -> str:
    """`application.axletree.dev/shop/web`, of `shop/web`."""
    return f"application.{GROUP}/{key}"


def age(timestamp: str | None, now: datetime | None = None) -> str:
    """`4m`, `3h`, `12d`: how long ago, as kubectl prints it; empty for none or what is no time."""
    moment = moment_of(timestamp)
    if moment is None:
        return ""
    seconds = max(0, int(((now or datetime.now(UTC)) - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def moment_of(timestamp: str | None) -> datetime | None:
    """A Kubernetes time; None for none or what is no time."""
    try:
        moment = datetime.fromisoformat(timestamp or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def seconds_text(seconds: float) -> str:
    """`8.2 s`, `1 min 04 s`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
