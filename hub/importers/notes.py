"""What an import has to say: what had no equal, and what means something else now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Note:
    """`lost`: it had no equal and is not in the result."""

    where: str
    path: str
    text: str
    lost: bool

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.where, self.path) if part)
        return f"{place}: {'no equal: ' if self.lost else ''}{self.text}"


@dataclass(slots=True)
class Notes:
    """Collects notes of one object; the list is shared by all objects of an import."""

    where: str = ""
    found: list[Note] = field(default_factory=list)

    def of(self, where: str) -> Notes:
        return Notes(where, self.found)

    def lost(self, path: str, text: str = "") -> None:
        self._add(Note(self.where, path, text or "it is left out", lost=True))

    def differs(self, path: str, text: str) -> None:
        self._add(Note(self.where, path, text, lost=False))

    def lost_keys(self, value: Mapping[str, Any], known: Iterable[str], path: str) -> None:
        """A note for each key that is set and that nobody read."""
        for key in sorted(value.keys() - set(known)):
            if value[key] is not False and value[key] not in (None, "", [], {}):
                self.lost(f"{path}.{key}" if path else str(key))

    def _add(self, note: Note) -> None:
        if note not in self.found:
            self.found.append(note)
