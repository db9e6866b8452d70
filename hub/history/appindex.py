"""Applications by anything that they are looked up by, in memory: what a list or its counts ask costs no row.

Pure: `put` and `drop` keep it, questions read it. Keys have an order; places are reused.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from dataclasses import dataclass
from heapq import nsmallest
from itertools import compress, islice
from sys import intern
from typing import TYPE_CHECKING

from hub.history.postings import Places, Postings, bits_of, clear_bit, flags, set_bit, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FACETS = ("health", "sync", "cluster", "owner", "namespace")
MAX_FACET = 100
_FEW_VALUES = 64
"""Of so few values each is counted over all places at once; of more, the places are counted one by one."""
_FEW_PLACES = 4096
"""So few keys are sorted; of more, the next ones in the order of all come soon."""
_WORDS = 32
"""That were asked for lately, and are kept up to date: 12 KB each for a hundred thousand places."""
_ZEROS = bytes.maketrans(b"01", b"\x00\x01")
Label = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class AppFilter:
    """Which Applications are meant; what is empty restricts nothing. `visible`: namespaces that may be seen."""

    namespaces: Sequence[str] = ()
    clusters: Sequence[str] = ()
    owners: Sequence[str] = ()
    health: Sequence[str] = ()
    sync: Sequence[str] = ()
    labels: Sequence[Label] = ()
    text: str = ""
    visible: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one Application. `facets` are in the order of `FACETS`; `words` are in lower case."""

    key: str
    facets: tuple[str, ...]
    labels: Mapping[str, str]
    words: str


class AppIndex:
    def __init__(self) -> None:
        self._order: list[str] = []
        self._place: dict[str, int] = {}
        self._keys: list[str] = []
        self._in_order: array[int] = array("I")
        """The place of each key of `_order`."""
        self._free: list[int] = []
        self._there = bytearray()
        self._columns: tuple[list[str], ...] = tuple([] for _ in FACETS)
        self._words: list[str] = []
        self._labels: list[tuple[str, ...]] = []
        self._values = tuple(Postings() for _ in FACETS)
        self._having = Postings()
        """By `key` and by `key=value` of labels."""
        self._asked: OrderedDict[str, bytearray] = OrderedDict()
        """The places whose words have one that was asked for lately: lists, their pages and counts ask the same."""

    def __len__(self) -> int:
        return len(self._order)

    # -- keeping it

    def load(self, entries: Iterable[Entry]) -> None:
        """Take what there is into an empty index."""
        for entry in entries:
            self._fill(self._take(entry.key), entry)
        self._order = sorted(self._place)
        self._in_order = array("I", map(self._place.__getitem__, self._order))

    def put(self, entry: Entry) -> None:
        """An Application as it is now."""
        place = self._place.get(entry.key)
        if place is None:
            place = self._take(entry.key)
            at = bisect_left(self._order, entry.key)
            self._order.insert(at, entry.key)
            self._in_order.insert(at, place)
        else:
            self._clear(place)
        self._fill(place, entry)

    def drop(self, key: str) -> None:
        """It is gone, if it was there."""
        place = self._place.pop(key, None)
        if place is None:
            return
        at = bisect_left(self._order, key)
        del self._order[at], self._in_order[at]
        self._clear(place)
        clear_bit(self._there, place)
        self._free.append(place)

    def _take(self, key: str) -> int:
        if self._free:
            place = self._free.pop()
        else:
            place = len(self._words)
            self._keys.append("")
            self._words.append("")
            self._labels.append(())
            for column in self._columns:
                column.append("")
        self._place[key] = place
        self._keys[place] = key
        set_bit(self._there, place)
        return place

    def _fill(self, place: int, entry: Entry) -> None:
        for column, postings, given in zip(self._columns, self._values, entry.facets, strict=True):
            value = column[place] = intern(given)
            postings.add(value, place)
        marks = [intern(f"{key}={value}") for key, value in entry.labels.items()]
        self._labels[place] = (*map(intern, entry.labels), *marks)
        for mark in self._labels[place]:
            self._having.add(mark, place)
        self._words[place] = entry.words
        for word, bits in self._asked.items():
            if word in entry.words:
                set_bit(bits, place)

    def _clear(self, place: int) -> None:
        for column, postings in zip(self._columns, self._values, strict=True):
            postings.remove(column[place], place)
        for mark in self._labels[place]:
            self._having.remove(mark, place)
        self._labels[place], self._words[place] = (), ""
        for bits in self._asked.values():
            if place >> 3 < len(bits):
                clear_bit(bits, place)

    # -- asking it

    @property
    def by_namespace(self) -> Mapping[str, int]:
        return self._values[FACETS.index("namespace")].counts

    def matching(self, wanted: AppFilter) -> Places:
        """The places of the Applications that are meant."""
        found = int.from_bytes(self._there, "little")
        asked = (wanted.health, wanted.sync, wanted.clusters, wanted.owners, wanted.namespaces)
        for postings, values in zip(self._values, asked, strict=True):
            if values:
                found &= postings.having(values)
        if wanted.visible is not None:
            found &= self._values[FACETS.index("namespace")].having(wanted.visible)
        for key, value in wanted.labels:
            found &= self._having.having([key if value is None else f"{key}={value}"])
        for word in wanted.text.lower().split():
            found = self._said(word, found)
        return found

    def page(self, places: Places, *, after: str, limit: int) -> list[str]:
        """At most `limit` keys after a key, in order."""
        if places.bit_count() <= _FEW_PLACES:
            keys = [self._keys[place] for place in walk(places)]
            return nsmallest(limit, (key for key in keys if key > after))
        chosen = flags(places).encode().translate(_ZEROS).ljust(len(self._words), b"\0")
        start = bisect_right(self._order, after)
        marked = map(chosen.__getitem__, self._in_order[start:])
        return list(islice(compress(islice(self._order, start, None), marked), limit))

    def facets(self, places: Places) -> dict[str, dict[str, int]]:
        """How many of these there are of each value, the most frequent first."""
        everything = places.bit_count() == len(self._order)
        chosen: bytes | None = None
        found: dict[str, dict[str, int]] = {}
        for name, column, postings in zip(FACETS, self._columns, self._values, strict=True):
            if everything:
                counts: Mapping[str, int] = postings.counts
            elif len(postings) <= _FEW_VALUES:
                each = {value: (postings.having([value]) & places).bit_count() for value in postings.counts}
                counts = {value: number for value, number in each.items() if number}
            else:
                chosen = chosen or flags(places).encode().translate(_ZEROS)
                counts = Counter(compress(column, chosen))
            found[name] = dict(nsmallest(MAX_FACET, counts.items(), key=lambda one: (-one[1], one[0])))
        return found

    def _said(self, word: str, among: Places) -> Places:
        """Those of some places whose words have this one in them."""
        words = self._words
        known = self._asked.get(word)
        if known is not None:
            self._asked.move_to_end(word)
        elif among.bit_count() * 2 <= len(words):  # few: looking at each of them is the shorter way
            known = bits_of(place for place in walk(among) if word in words[place])
        else:
            known = bits_of(place for place, text in enumerate(words) if word in text)
            self._asked[word] = known
            if len(self._asked) > _WORDS:
                self._asked.popitem(last=False)
        return among & int.from_bytes(known, "little")
