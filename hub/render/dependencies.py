"""A chart's dependencies, fetched where it does not bring them: by its source, before it is rendered.

What is fetched is bounded like every source: by the Project's `sourceRepos` and `verify`, and by one app's size. The
exact version comes from `Chart.lock`, and the archive's digest is part of what decides the rendering.
"""

from __future__ import annotations

import asyncio
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hub.render.checks import repository_allowed
from hub.render.plain import ManifestError
from hub.render.signed import check_signed
from hub.render.valuefiles import Place
from hub.sources.chartaddress import is_chart
from hub.sources.chartlock import lacking
from hub.sources.errors import SourceTooLarge
from hub.sources.flight import Flights
from hub.sources.port import MAX_BYTES
from hub.sources.urls import checked_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hub.api.project import ProjectSpec
    from hub.sources.chartlock import Needed
    from hub.sources.port import Source

MAX_DEPTH = 4
"""Local charts within local charts."""


class DependencyRefused(ManifestError):
    """A chart's dependency is from where its project may not read, or leads outside the repository."""

    reason = "DependencyRefused"


@dataclass(frozen=True, slots=True)
class Found:
    """One dependency: its folder in the chart, where it is, and what it needs itself."""

    folder: str
    place: Place
    tree: str
    below: tuple[Found, ...] = ()

    @property
    def identity(self) -> list[object]:
        return [self.folder, self.place.url, self.tree, [one.identity for one in self.below]]


class Dependencies:
    """`tree` and `read` are those of the renderer's inputs, which remember what they gave."""

    def __init__(
        self,
        source: Source,
        *,
        tree: Callable[[Place], Awaitable[str]],
        read: Callable[[Place, str], Awaitable[Mapping[str, bytes]]],
    ) -> None:
        self._source = source
        self._tree = tree
        self._read = read
        self._lacking: Flights[tuple[Needed, ...]] = Flights(keep=20_000)

    async def of(
        self, place: Place, tree: str, project: ProjectSpec | None, *, depth: int = 0
    ) -> tuple[Found, ...]:
        """What the chart at a place lacks, resolved. Without a project nothing bounds it.

        Raises `ManifestError` and the errors of `hub.sources`.
        """

        async def look() -> tuple[Needed, ...]:
            return lacking(await self._read(place, tree), where=place.where)

        needed = await self._lacking.run(f"{place.known_to(self._source)} {tree}", look)
        return tuple(await asyncio.gather(*(self._find(one, place, project, depth) for one in needed)))

    async def files(self, found: tuple[Found, ...]) -> dict[str, bytes]:
        """All of their files, by paths in the chart."""
        together: dict[str, bytes] = {}
        for one in found:
            files = {**await self._read(one.place, one.tree), **await self.files(one.below)}
            together |= {f"{one.folder}/{name}": data for name, data in files.items()}
        if (size := sum(map(len, together.values()))) > MAX_BYTES:
            raise SourceTooLarge(f"{size} bytes of dependencies; one app may read {MAX_BYTES}")
        return together

    async def _find(self, one: Needed, chart: Place, project: ProjectSpec | None, depth: int) -> Found:
        if one.local:
            place = _beside(one.local, chart)
            if depth >= MAX_DEPTH:
                raise DependencyRefused(
                    f"local charts {MAX_DEPTH} deep", where=chart.where, file="Chart.yaml"
                )
            tree = await self._tree(place)
            return Found(one.folder, place, tree, await self.of(place, tree, project, depth=depth + 1))
        if project is not None and not repository_allowed(project, one.repository):
            raise DependencyRefused(
                f"dependency {one.name!r}: repository {one.repository[:200]} is not among the project's sourceRepos",
                where=chart.where,
                file="Chart.yaml",
            )
        source = self._source.seen_by(chart.namespace)
        commit = await source.resolve(one.address, one.version)
        await check_signed(source, project, one.address, revision=one.version, commit=commit)
        place = Place(one.address, commit, "", chart.namespace)
        return Found(one.folder, place, await self._tree(place))


def _beside(path: str, chart: Place) -> Place:
    """A chart in the same repository, which its folder may name with `..`."""
    whole = posixpath.normpath(posixpath.join(chart.path, path))
    if is_chart(chart.url) or path.startswith("/") or whole == ".." or whole.startswith("../"):
        raise DependencyRefused(
            f"{path[:200]!a} leads outside the repository", where=chart.where, file="Chart.yaml"
        )
    return replace(chart, path=checked_path(whole))
