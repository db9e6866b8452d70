"""A chart's inputs: its files and dependencies, the layers of its values, what templates see of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.render.appinputs import Input
from hub.render.chart import DEFAULT_KUBE_VERSION, ChartSource, ValuesLayer
from hub.render.content import packed
from hub.render.hubvalues import values_from
from hub.render.ownkinds import with_kinds
from hub.render.plain import ManifestError
from hub.render.valuefiles import ValueFile, located, value_maps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hub.api.application import ApplicationSpec
    from hub.api.source import Source as SourceSpec
    from hub.core.model import ClusterView
    from hub.render.dependencies import Dependencies, Found
    from hub.render.hubvalues import HubObjects
    from hub.render.pipeline import AnySource
    from hub.render.valuefiles import Place
    from hub.sources.port import Source


class HelmInputs:
    """Of charts, read through one source. `read` gives the files of a place, whose tree is known."""

    def __init__(
        self,
        source: Source,
        objects: HubObjects | None,
        *,
        dependencies: Dependencies,
        read: Callable[[Place, str], Awaitable[Mapping[str, bytes]]],
    ) -> None:
        self._source = source
        self._objects = objects
        self._dependencies = dependencies
        self._read = read

    async def of(
        self,
        source: SourceSpec,
        place: Place,
        tree: str,
        *,
        spec: ApplicationSpec,
        app_key: str,
        cluster: ClusterView,
        commits: Mapping[tuple[str, str], str],
        needed: tuple[Found, ...],
    ) -> Input:
        helm = source.helm
        files: list[ValueFile] = []
        for name in helm.value_files if helm else ():
            file = await self._value_file(name, source, place, spec, commits)
            files += [file] if file else []
        given = values_from(
            helm.values_from if helm else (),
            self._objects,
            namespace=app_key.partition("/")[0],
            where=place.where,
        )
        maps = [*given, *value_maps(source, cluster, where=place.where)]
        release = (helm.release_name if helm else "") or app_key.partition("/")[2]
        kube = (helm.kube_version if helm else "") or cluster.kubernetes_version or DEFAULT_KUBE_VERSION
        kube = kube.removeprefix("v").partition("+")[0]
        served = with_kinds(cluster.api_versions, cluster.kubernetes_version)
        apis = tuple(sorted({*served, *helm.api_versions})) if helm and helm.api_versions else served
        skip_crds = helm.skip_crds if helm else False
        identity: list[Any] = ["helm", tree, [one.identity for one in files], [one.to_wire() for one in maps]]
        identity += [release, spec.namespace, kube, apis, skip_crds, *(one.identity for one in needed)]

        async def read() -> AnySource:
            content = {**await self._read(place, tree), **await self._dependencies.files(needed)}
            layers = [ValuesLayer(one.name, text=await self._text(one)) for one in files]
            return ChartSource(
                place.where,
                " ".join([place.url, tree, *(str(one.identity) for one in needed)]),
                packed(content),
                release,
                spec.namespace,
                layers=(*layers, *maps),
                kube_version=kube,
                api_versions=apis,
                skip_crds=skip_crds,
            )

        return Input(identity, read)

    async def _value_file(
        self,
        name: str,
        source: SourceSpec,
        place: Place,
        spec: ApplicationSpec,
        commits: Mapping[tuple[str, str], str],
    ) -> ValueFile | None:
        """Where a values file is; None for one that may be missing, and is."""
        at = located(name, place, spec, commits)
        tree = await self._source.seen_by(at.namespace).tree_id(at.url, at.commit, at.path)
        if tree is not None:
            return ValueFile(name, tree, at)
        if source.helm is not None and source.helm.ignore_missing_value_files:
            return None
        raise ManifestError("there is no such values file", where=at.where, file=name, reason="PathNotFound")

    async def _text(self, file: ValueFile) -> str:
        at = file.place
        data = (await self._source.seen_by(at.namespace).read(at.url, at.commit, [at.path]))[at.path]
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ManifestError("it is not UTF-8 text", where=at.where, file=file.name) from error
