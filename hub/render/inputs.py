"""From an Application's sources to what a worker renders, with an identity that fixes the outcome.

The identity is made of tree ids and options, and costs no reading where the same commit, or the same tree, was
seen before; files are read only for a rendering that has to be made.
"""

from __future__ import annotations

import asyncio
import itertools
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hub.render.appinputs import AppInputs, Input, variables_of
from hub.render.closure import closure
from hub.render.content import packed, texts
from hub.render.dependencies import Dependencies
from hub.render.helminputs import HelmInputs
from hub.render.hubvalues import versions_of
from hub.render.jsonnet import SUFFIX, JsonnetTree
from hub.render.kustomize import NAMES, KustomizeTree
from hub.render.plain import SUFFIXES, TEMPLATE, ManifestError, PlainSource, selected
from hub.render.plugin import PluginTree
from hub.render.sops import DecryptionKeys
from hub.render.valuefiles import Place, beside, is_values_only
from hub.sources.directory import LOCAL
from hub.sources.errors import SourceTooLarge
from hub.sources.flight import Flights
from hub.sources.port import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.api.application import ApplicationSpec
    from hub.api.project import ProjectSpec
    from hub.api.source import Source as SourceSpec
    from hub.core.model import ClusterView
    from hub.render.closure import Closure
    from hub.render.hubvalues import HubObjects
    from hub.render.pipeline import AnySource
    from hub.sources.port import Source

_CHART_FILE = "Chart.yaml"


class Inputs:
    """Reads through one source, and remembers what trees hold. `objects` are what the hub has to give."""

    def __init__(self, source: Source, objects: HubObjects | None = None) -> None:
        self._source = source
        self._objects = objects
        self._trees: Flights[str] = Flights()
        self._files: Flights[Mapping[str, bytes]] = Flights(keep=64)
        self._tools: Flights[str] = Flights(keep=20_000)
        self._numbers = itertools.count()
        self._closures: Flights[Closure] = Flights(keep=64)
        self._folders: Flights[dict[str, str]] = Flights(keep=20_000)
        self._dependencies = Dependencies(source, tree=self._tree, read=self._read)
        self._charts = HelmInputs(source, objects, dependencies=self._dependencies, read=self._read)

    async def of(
        self,
        app_key: str,
        spec: ApplicationSpec,
        *,
        cluster: ClusterView,
        commits: Mapping[tuple[str, str], str],
        project: ProjectSpec | None = None,
    ) -> AppInputs:
        """The inputs of one app on one cluster; a project bounds where charts' dependencies come from.

        Raises `ManifestError` and the errors of `hub.sources`.
        """
        rendered = [one for one in spec.sources if not is_values_only(one)]
        sources = await asyncio.gather(
            *(self._input(one, spec, app_key, cluster, commits, project=project) for one in rendered)
        )
        overlay = None
        if spec.overlay is not None:
            place = Place.of(spec.overlay, commits, namespace=app_key.partition("/")[0])
            overlay = await self._kustomize(place, {})
        return AppInputs(
            tuple(sources),
            overlay,
            spec,
            variables_of(app_key, spec, cluster),
            lambda: self._objects.keys(app_key.partition("/")[0]) if self._objects else DecryptionKeys(),
        )

    def versions(self, namespace: str, spec: ApplicationSpec) -> list[str]:
        """What changes with the objects of the hub that it takes values from."""
        return versions_of(spec, self._objects, namespace=namespace)

    async def _input(
        self,
        source: SourceSpec,
        spec: ApplicationSpec,
        app_key: str,
        cluster: ClusterView,
        commits: Mapping[tuple[str, str], str],
        *,
        project: ProjectSpec | None,
    ) -> Input:
        place = Place.of(source, commits, namespace=app_key.partition("/")[0])
        tree = await self._tree(place)
        tool = await self._tool(source, place, tree)
        if tool == "helm":
            needed = await self._dependencies.of(place, tree, project)
            return await self._charts.of(
                source,
                place,
                tree,
                spec=spec,
                app_key=app_key,
                cluster=cluster,
                commits=commits,
                needed=needed,
            )
        if tool == "kustomize":
            return await self._kustomize(place, source.kustomize.to_json() if source.kustomize else {})
        if tool == "jsonnet":
            return await self._jsonnet(source, place, tree)
        if tool == "plugin":
            return self._plugin(source, place, tree)
        templated = source.jinja.enabled or await self._has_templates(place, tree)
        return self._plain(source, place, tree, templated=templated)

    async def _tool(self, source: SourceSpec, place: Place, tree: str) -> str:
        if source.helm is not None or source.chart:
            return "helm"
        for tool in ("kustomize", "jsonnet", "plugin"):
            if getattr(source, tool) is not None:
                return tool
        if source.jinja.enabled or source.directory.include or source.directory.recurse:
            return "plain"

        async def look() -> str:
            files = await self._read(place, tree)
            if _CHART_FILE in files:
                return "helm"
            if any(name in files for name in NAMES):
                return "kustomize"
            suffixes = {
                posixpath.splitext(path.removesuffix(TEMPLATE))[1] for path in files if "/" not in path
            }
            return "jsonnet" if SUFFIX in suffixes and not suffixes & {*SUFFIXES} else "plain"

        return await self._tools.run(f"{self._known(place)} {tree}", look)

    async def _has_templates(self, place: Place, tree: str) -> bool:
        """Whether a file says by its name that it is one: then the cluster's values count as inputs."""

        async def look() -> str:
            files = await self._read(place, tree)
            return TEMPLATE if any(path.endswith(TEMPLATE) for path in files) else ""

        return bool(await self._tools.run(f"{self._known(place)} {tree} {TEMPLATE}", look))

    def _plain(self, source: SourceSpec, place: Place, tree: str, *, templated: bool) -> Input:
        options = source.directory

        async def read() -> AnySource:
            files = await self._read(place, tree)
            chosen = selected(
                files,
                where=place.where,
                recurse=options.recurse,
                include=options.include,
                exclude=options.exclude,
            )
            return PlainSource(place.where, chosen, jinja=source.jinja.enabled, values=source.jinja.values)

        jinja = source.jinja.values if templated else None
        identity = ["plain", tree, source.path, options.to_json(), jinja]
        return Input(identity, read, templated=templated)

    async def _jsonnet(self, source: SourceSpec, place: Place, tree: str) -> Input:
        options = source.jsonnet.to_json() if source.jsonnet else {}
        libs: dict[str, tuple[Place, str]] = {}
        for name in options.get("libs") or ():
            at = beside(name, place)
            libs[at.path] = at, await self._tree(at)

        async def read() -> AnySource:
            files: dict[str, str] = {}
            for at, below in ((place, tree), *libs.values()):
                found = await self._read(at, below)
                files |= {posixpath.join(at.path, path): text for path, text in texts(found).items()}
            return JsonnetTree(
                place.where,
                files,
                place.path,
                tuple(options.get("tlas") or ()),
                tuple(options.get("extVars") or ()),
                tuple(libs),
            )

        return Input(
            ["jsonnet", tree, place.path, {path: id_ for path, (_, id_) in libs.items()}, options], read
        )

    def _plugin(self, source: SourceSpec, place: Place, tree: str) -> Input:
        plugin = source.plugin
        assert plugin is not None  # noqa: S101 - it is what chose the tool

        async def read() -> AnySource:
            return PluginTree(
                place.where, packed(await self._read(place, tree)), plugin.name, dict(plugin.parameters)
            )

        return Input(["plugin", tree, plugin.to_json()], read, templated=True)

    async def _kustomize(self, place: Place, options: Mapping[str, Any]) -> Input:
        extra = tuple(options.get("components") or ())

        async def folder(path: str) -> Mapping[str, bytes]:
            below = replace(place, path=path)
            return await self._read(below, await self._tree(below))

        async def find() -> Closure:
            return await closure(place.path, folder, where=place.where, extra=extra)

        key = f"{self._known(place)} {place.commit} {place.path} {extra}"
        if place.commit == LOCAL:  # a folder, which changes under that name
            key = f"{key} {next(self._numbers)}"

        async def ids() -> dict[str, str]:
            found = await self._closures.run(key, find)
            return {path: await self._tree(replace(place, path=path)) for path in sorted(found.folders)}

        folders = await self._folders.run(key, ids)

        async def read() -> AnySource:
            found = await self._closures.run(key, find)
            files = {
                posixpath.join(path, name): data
                for path, content in found.folders.items()
                for name, data in content.items()
            }
            if (size := sum(map(len, files.values()))) > MAX_BYTES:
                raise SourceTooLarge(f"{place.where}: {size} bytes of files; one app may read {MAX_BYTES}")
            given = {name: value for name, value in options.items() if value}
            return KustomizeTree(place.where, packed(files), place.path, given, tuple(found.steps))

        return Input(["kustomize", folders, place.path, options], read)

    async def _tree(self, place: Place) -> str:
        async def ask() -> str:
            source = self._source.seen_by(place.namespace)
            tree = await source.tree_id(place.url, place.commit, place.path)
            if tree is None:
                raise ManifestError("nothing is there", where=place.where, reason="PathNotFound")
            return tree

        return await self._trees.run(f"{self._known(place)} {place.commit} {place.path}", ask)

    def _known(self, place: Place) -> str:
        return place.known_to(self._source)

    async def _read(self, place: Place, tree: str) -> Mapping[str, bytes]:
        """The files at a place, read once for the many clusters that they are rendered for."""

        async def read() -> Mapping[str, bytes]:
            return await self._source.seen_by(place.namespace).files(place.url, place.commit, place.path)

        return await self._files.run(f"{self._known(place)} {tree} {place.path}", read)
