"""Whoever is told to run a command finds that there is one: on the pages, in alerts, and in what programs say."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

import typer

from hub.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
TOLD = re.compile(r"(?:`|: |\$ |use |by )axle ([a-z]+)(?: ([a-z]+))?")
FILES = sorted(
    path
    for folder, pattern in (
        ("docs", "*.md"),
        ("charts", "*.*"),
        ("hub", "*.py"),
        ("agent", "*.py"),
        ("e2e", "*.md"),
    )
    for path in (ROOT / folder).rglob(pattern)
)


@cache
def words(name: str) -> frozenset[str] | None:
    """What may come after the command, where it is a group."""
    group = typer.main.get_group(importlib.import_module(COMMANDS[name][0]).app).commands[name]
    below = getattr(group, "commands", None)
    return frozenset(below) if below else None


def test_commands_that_are_named_are_there() -> None:
    wrong = []
    for path in FILES:
        for told in TOLD.finditer(path.read_text(encoding="utf-8")):
            name, word = told.groups()
            below = words(name) if name in COMMANDS else frozenset[str]()
            if name not in COMMANDS or (below is not None and word not in (None, *below)):
                wrong.append(f"{path.relative_to(ROOT)}: {told[0]}")
    assert not wrong, "\n".join(wrong)
