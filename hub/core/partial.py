"""A set's last expansion, kept so that one cluster's change costs that cluster's children. Pure.

What is kept are names, not manifests: those are in the Applications themselves. A part is put beside it only where
the outcome is the one that a whole expansion would have; where that is in doubt the answer is None, and the whole is
made: errors among it, which only a whole expansion can tell in full.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hub.core.expansion import MAX_CHILDREN, MAX_PARAMS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hub.core.expansion import Child, Expansion
    from hub.core.model import AppKey


class Row(NamedTuple):
    """What is kept of a child, and shared by all that are alike."""

    generator: int
    reads: tuple[str, ...] = ()
    """`<repoURL>@<revision>` of everything that its target was made from."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a set wants of some clusters, beside what is kept."""

    children: tuple[Child, ...]
    """As the generators give them for these clusters now."""
    gone: tuple[str, ...]
    """Names of children of these clusters that nobody wants any more, sorted."""
    size: int
    """Of the whole set, with these."""
    left: frozenset[AppKey] = frozenset()
    """Applications of the set that earlier expansions had dropped, or that are Held."""
    standing: tuple[AppKey, ...] = ()
    """Children on these clusters whatever row they came from: what they run depends on the cluster."""
    leaving: bool = False
    """Whether any of those that are left is on these clusters."""

    @property
    def matters(self) -> bool:
        """Whether there is anything to be planned."""
        return bool(self.children or self.gone or self.standing or self.leaving)


@dataclass(slots=True)
class Kept:
    """One set's expansion."""

    revisions: Mapping[str, str]
    """What its generators read, and at which commit."""
    largest: int
    """The most parameter sets that a product in it came to."""
    rows: dict[str, Row] = field(default_factory=dict)
    """By the child's name."""
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The names that each cluster's own parameters gave."""
    left: set[AppKey] = field(default_factory=set)
    _generators: Counter[int] = field(default_factory=Counter)
    _reads: Counter[str] = field(default_factory=Counter)
    _alike: dict[Row, Row] = field(default_factory=dict)

    def part(self, expansion: Expansion, clusters: Collection[str]) -> Part | None:
        """The set with these clusters' rows made again; None where it takes the whole to know.

        `expansion` is that of the set narrowed to the clusters (`hub.core.sight`).
        """
        if any(self.revisions.get(key) != commit for key, commit in expansion.revisions.items()):
            return None
        if self.largest + expansion.largest > MAX_PARAMS:
            return None
        old = {name for cluster in clusters for name in self.origins.get(cluster, ())}
        new = {child.name for child in expansion.children}
        size = len(self.rows) - len(old) + len(new)
        if size > MAX_CHILDREN or any(name in self.rows and name not in old for name in new):
            return None
        lost = Counter(self.rows[name].generator for name in old)
        lost.subtract(Counter(child.generator for child in expansion.children))
        if any(count and count == self._generators[index] for index, count in lost.items()):
            return None  # what only its rows had read may be read no more
        return Part(expansion.children, tuple(sorted(old - new)), size)

    def reads_with(self, part: Part, found: Mapping[str, Iterable[str]]) -> set[str]:
        """What the set reads with the part. `found` is by name what each child's target was made from."""
        reads = Counter(self._reads)
        for name in (*part.gone, *found):
            row = self.rows.get(name)
            reads.subtract(row.reads if row is not None else ())
        for each in found.values():
            reads.update(each)
        return {key for key, count in reads.items() if count > 0} | self.revisions.keys()

    def keep(self, children: Iterable[Child], found: Mapping[str, Iterable[str]]) -> None:
        """Take these children, each with what its target was made from."""
        by_origin: dict[str, list[str]] = {}
        for child in children:
            self._forget(child.name)
            self._file(child.name, child.generator, found.get(child.name, ()))
            if child.origin:
                by_origin.setdefault(child.origin, []).append(child.name)
        for cluster, names in by_origin.items():
            self.origins[cluster] = tuple(names)

    def take(self, part: Part, clusters: Collection[str], found: Mapping[str, Iterable[str]]) -> None:
        """From here on the part is what is kept."""
        for cluster in clusters:
            for name in self.origins.pop(cluster, ()):
                self._forget(name)
        self.keep(part.children, found)
        fresh = {child.name for child in part.children}
        for name, reads in found.items():
            if name not in fresh and (row := self.rows.get(name)) is not None:
                self._forget(name)
                self._file(name, row.generator, reads)

    def _file(self, name: str, generator: int, reads: Iterable[str]) -> None:
        row = Row(generator, tuple(sorted(reads)))
        row = self._alike.setdefault(row, row)
        self.rows[name] = row
        self._generators[generator] += 1
        self._reads.update(row.reads)

    def _forget(self, name: str) -> None:
        row = self.rows.pop(name, None)
        if row is not None:
            self._generators[row.generator] -= 1
            self._reads.subtract(row.reads)
