"""Where a chart's values come from: files of its own repository or of another source, maps, the cluster. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hub.core.params import MISSING, lookup
from hub.render.chart import ValuesLayer
from hub.render.plain import ManifestError
from hub.sources.urls import checked_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.api.application import ApplicationSpec
    from hub.api.source import Overlay, Source
    from hub.core.model import ClusterView
    from hub.sources.port import Source as SourceOfFiles


@dataclass(frozen=True, slots=True)
class Place:
    """A path at a commit."""

    url: str
    commit: str
    path: str
    namespace: str = ""
    """Of the Project for which it is read."""

    @classmethod
    def of(
        cls, source: Source | Overlay, commits: Mapping[tuple[str, str], str], *, namespace: str = ""
    ) -> Place:
        chart = getattr(source, "chart", "")
        path = "" if chart else checked_path(source.path)
        return cls(source.address, commits[source.address, source.reference], path, namespace)

    def known_to(self, source: SourceOfFiles) -> str:
        """The repository with the name of who reads it: what is remembered of it is for equal readers alone."""
        return f"{source.seen_by(self.namespace).reader(self.url)} {self.url}"

    @property
    def where(self) -> str:
        return f"{self.url}@{self.commit[:12]}:{self.path or '.'}"


@dataclass(frozen=True, slots=True)
class ValueFile:
    """A values file: as the Application names it, its content's id, and where it is."""

    name: str
    tree: str
    place: Place

    @property
    def identity(self) -> list[str]:
        return [self.name, self.tree]


def is_values_only(source: Source) -> bool:
    """Whether it is there for other sources' `$ref` alone."""
    return bool(source.ref) and not source.chart and checked_path(source.path) == ""


def located(name: str, place: Place, spec: ApplicationSpec, commits: Mapping[tuple[str, str], str]) -> Place:
    """Where `path` or `$ref/path` is. Raises `ManifestError` for one that leaves its repository."""
    if name.startswith("$"):
        ref, _, rest = name[1:].partition("/")
        of = next((one for one in spec.sources if one.ref == ref), None)
        if of is None:
            raise ManifestError(
                f"no source of the Application has ref: {ref}",
                where=place.where,
                file=name,
                reason="UnknownRef",
            )
        base, inner = Place(of.address, commits[of.address, of.reference], "", place.namespace), rest
    else:
        base, inner = place, name
    path = posixpath.normpath(posixpath.join(base.path, inner))
    if inner.startswith("/") or path == ".." or path.startswith("../") or not inner:
        raise ManifestError(
            "it leads outside its repository", where=place.where, file=name, reason="PathRefused"
        )
    return replace(base, path=checked_path(path))


def beside(name: str, place: Place) -> Place:
    """A folder of the same repository, relative to the place. Raises `ManifestError` for one that leaves it."""
    path = posixpath.normpath(posixpath.join(place.path, name))
    if name.startswith(("/", "$")) or path == ".." or path.startswith("../"):
        raise ManifestError(
            "it leads outside its repository", where=place.where, file=name, reason="PathRefused"
        )
    return replace(place, path=checked_path(path))


def value_maps(source: Source, cluster: ClusterView, *, where: str) -> list[ValuesLayer]:
    """The layers above the files, in their order."""
    helm = source.helm
    if helm is None:
        return []
    found: list[ValuesLayer] = []
    if helm.values:
        text = helm.values if isinstance(helm.values, str) else None
        value = helm.values if isinstance(helm.values, dict) else None
        found.append(ValuesLayer("helm.values", text=text, value=value))
    if helm.cluster_values:
        own = lookup(cluster.values, helm.cluster_values)
        if own is not MISSING:
            if not isinstance(own, dict):
                raise ManifestError(
                    f"cluster {cluster.name}: values.{helm.cluster_values} is no map",
                    where=where,
                    reason="InvalidClusterValues",
                )
            found.append(ValuesLayer(f"cluster {cluster.name}: values.{helm.cluster_values}", value=own))
    if helm.values_object:
        found.append(ValuesLayer("helm.valuesObject", value=helm.values_object))
    if helm.parameters:
        parameters = tuple(
            {"name": one.name, "value": one.value, "forceString": one.force_string} for one in helm.parameters
        )
        found.append(ValuesLayer("helm.parameters", parameters=parameters))
    return found
