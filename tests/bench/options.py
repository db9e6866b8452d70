"""What was asked for on the command line, and where it happens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.bed import Bed, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.bench.rows import Row


@dataclass(frozen=True, slots=True)
class Options:
    root: Path
    binary: Path
    note: Callable[[str], None]
    only: str = ""
    repeats: int = 3
    edits: int = 20
    agent_processes: int = 1
    jinja: bool = False
    """Content that differs by cluster, so that each child is rendered for itself."""
    profiles: Path | None = None
    lean: bool = False
    """Without watches of what the agents keep: fewer phases, and less of the machine taken by the bench."""

    def wants(self, *rows: Row) -> bool:
        pattern = re.compile(self.only)
        return any(pattern.search(row.id) or pattern.search(row.name) for row in rows)

    def bed(self, name: str, shape: Shape, files: Mapping[str, str]) -> Bed:
        """A fleet in its own folder."""
        root = self.root / name
        root.mkdir(parents=True)
        profiles = None if self.profiles is None else self.profiles / name
        return Bed(root, self.binary, shape, files=files, note=self.note, profiles=profiles, lean=self.lean)
