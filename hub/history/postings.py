"""Which places of an index have a value: a short list where few have it, a bit each where many do.

Sets of places are whole numbers, a bit a place: what two conditions have in common, and how many that are, is one
operation of the interpreter over 12 KB for a hundred thousand places.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FEW = 512
"""Up to here a list of places is the smaller one."""
Places = int


class Postings:
    """The places of each value; lists of up to `few` of them."""

    def __init__(self, *, few: int = _FEW) -> None:
        self._limit = few
        self._few: dict[str, array[int]] = {}
        self._many: dict[str, bytearray] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def counts(self) -> dict[str, int]:
        """How many places each value has. Not to be changed."""
        return self._counts

    def add(self, value: str, place: int) -> None:
        """A place that did not have the value has it now."""
        self._counts[value] = self._counts.get(value, 0) + 1
        bits = self._many.get(value)
        if bits is not None:
            set_bit(bits, place)
            return
        few = self._few.setdefault(value, array("I"))
        few.append(place)
        if len(few) > self._limit:
            self._many[value] = bits_of(self._few.pop(value))

    def remove(self, value: str, place: int) -> None:
        """A place that had the value has it no more."""
        left = self._counts[value] - 1
        if not left:
            del self._counts[value]
            self._few.pop(value, None)
            self._many.pop(value, None)
            return
        self._counts[value] = left
        if value in self._many:
            clear_bit(self._many[value], place)
        else:
            self._few[value].remove(place)

    def having(self, values: Iterable[str]) -> Places:
        """The places that have any of these."""
        found, some = 0, bytearray()
        for value in values:
            if value in self._many:
                found |= int.from_bytes(self._many[value], "little")
            for place in self._few.get(value, ()):
                set_bit(some, place)
        return found | int.from_bytes(some, "little")


def set_bit(bits: bytearray, place: int) -> None:
    at = place >> 3
    if at >= len(bits):
        bits.extend(bytes(at + 1 - len(bits)))
    bits[at] |= 1 << (place & 7)


def clear_bit(bits: bytearray, place: int) -> None:
    bits[place >> 3] &= ~(1 << (place & 7))


def bits_of(places: Iterable[int]) -> bytearray:
    bits = bytearray()
    for place in places:
        set_bit(bits, place)
    return bits


def flags(places: Places) -> str:
    """A `0` or `1` for each place, from the first to the last that is in it."""
    return f"{places:b}"[::-1] if places else ""


def walk(places: Places) -> Iterator[int]:
    """Each place, in order."""
    text = flags(places)
    at = text.find("1")
    while at >= 0:
        yield at
        at = text.find("1", at + 1)
