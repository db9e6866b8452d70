"""`axle health`: how healthy objects are, with no cluster at hand and by rules of one's own too."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.contract.health import HealthState
from agent.health.result import HealthResult
from agent.health.rules import RuleSet
from agent.kube.yaml import load_all
from agent.lua.host import LuaHost
from hub.cli.failure import plainly
from hub.cli.files import InvalidFile
from hub.cli.healthrules import read_rules
from hub.cli.output import Format, FormatOption, name_of, print_table, print_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.contract.manifest import Manifest

app = typer.Typer()

FilesOption = Annotated[
    list[Path],
    typer.Option(
        "--file", "-f", help="A file, a folder of files, or - for stdin; repeat.", show_default=False
    ),
]
RulesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--rules",
        help="Rules before the built-in ones: a file of ours, argocd-cm, or a tree of health.lua files; repeat.",
        show_default=False,
    ),
]
_STDIN = Path("-")
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
COLUMNS = ("apiVersion", "kind", "namespace", "name", "state", "message")


@app.command()
def health(file: FilesOption, rules: RulesOption = None, fmt: FormatOption = Format.TABLE) -> None:
    """Print the health of every object in these files: as the agent judges it, live objects being meant.

    YAML, JSON, several documents and lists are read. Exit code 0 whatever the health is.
    """
    with plainly(), contextlib.ExitStack() as stack:
        own = read_rules(rules or ())
        lua = stack.enter_context(LuaHost()) if any(rule.lua for rule in own) else None
        judge = RuleSet(own, lua=lua)
        now = datetime.now(UTC)
        rows = [_row(obj, _judged(judge, obj, now)) for obj in _objects(file)]
    _print(rows, fmt)


def _judged(judge: RuleSet, obj: Manifest, now: datetime) -> HealthResult:
    try:
        return judge.evaluate(obj, now=now)
    except (AttributeError, TypeError, ValueError) as error:
        # An API server would refuse such an object, so that no rule looks out for it.
        return HealthResult(HealthState.UNKNOWN, f"its fields have other types than its kind says: {error}")


def _objects(paths: Sequence[Path]) -> Iterator[Manifest]:
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
        for each in files:
            for obj in load_all(_read(each), source=str(each)):
                if not isinstance(obj.get("kind"), str) or not isinstance(obj.get("apiVersion"), str):
                    raise InvalidFile(f"{each}: a document without apiVersion or kind")
                yield obj


def _read(path: Path) -> bytes:
    if path == _STDIN:
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidFile(f"{path}: {error.strerror or error}") from error


def _row(obj: Manifest, result: HealthResult) -> dict[str, str]:
    found: Any = obj.get("metadata")
    metadata = found if isinstance(found, dict) else {}
    return {
        "apiVersion": str(obj["apiVersion"]),
        "kind": str(obj["kind"]),
        "namespace": str(metadata.get("namespace") or ""),
        "name": str(metadata.get("name") or metadata.get("generateName") or ""),
        "state": result.state.value,
        "message": result.message,
    }


def _print(rows: Sequence[dict[str, str]], fmt: Format) -> None:
    if fmt in {Format.JSON, Format.YAML}:
        print_value(list(rows), fmt)
    elif fmt is Format.NAME:
        for row in rows:
            print(name_of({**row, "metadata": row}))
    else:
        head = ("NAMESPACE", "KIND", "NAME", "STATE", "MESSAGE")
        cells = [[row[name.lower()].replace("\n", " ") for name in head] for row in rows]
        print_table(head, cells)
