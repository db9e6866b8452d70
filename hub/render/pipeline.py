"""One app's rendering, from files to objects, in one fixed order of layers. Workers run it.

Sources (each by one tool), the overlay over all of them, patches, then common labels, annotations and namespace.
Equal requests give equal objects in an equal order. Stages, the objects after each step, are made only where a
request asks for them: for a chart one rendering a layer of values, for a kustomization one a folder it builds on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.contract.manifest import ref_of
from hub.core.templating import TemplateEngine
from hub.render.chart import ChartSource, check_stable, render_chart
from hub.render.common import with_common
from hub.render.helmbinary import BinaryHelm
from hub.render.helmsdk import SdkHelm
from hub.render.kustomize import KustomizeTree, build, patched
from hub.render.plain import ManifestError, PlainSource, objects_of
from hub.render.programs import Programs
from hub.render.seal import Remembered, SealedResult, Sealing, sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agent.contract.manifest import Manifest
    from hub.render.chart import HelmBackend

AnySource = PlainSource | ChartSource | KustomizeTree


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One app's sources and layers, and what its templates see beside each source's own values."""

    sources: tuple[AnySource, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)
    """`cluster` and `app`."""
    overlay: KustomizeTree | None = None
    patches: tuple[Mapping[str, Any], ...] = ()
    common: Mapping[str, Any] = field(default_factory=dict)
    stages: bool = False

    def to_wire(self) -> dict[str, Any]:
        return {
            "sources": [one.to_wire() for one in self.sources],
            "variables": self.variables,
            "overlay": self.overlay.to_wire() if self.overlay else None,
            "patches": self.patches,
            "common": self.common,
            "stages": self.stages,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> RenderRequest:
        return RenderRequest(
            tuple(map(_source_from_wire, data["sources"])),
            data["variables"],
            KustomizeTree.from_wire(data["overlay"]) if data["overlay"] else None,
            tuple(data["patches"]),
            data["common"],
            data["stages"],
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """The objects once one layer was applied. `origins` names the template or file of an object, by its reference."""

    name: str
    objects: tuple[Manifest, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why this step alone gives nothing, where the whole does: a chart that requires a value set later."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "objects": self.objects,
            "origins": self.origins,
            "problem": self.problem,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> Stage:
        return Stage(data["name"], tuple(data["objects"]), data["origins"], data["problem"])


@dataclass(frozen=True, slots=True)
class RenderResult:
    objects: tuple[Manifest, ...]
    stages: tuple[Stage, ...] = ()


class Tools:
    """What a worker renders with: kept between requests, for what is compiled and loaded."""

    def __init__(self, programs: Programs | None = None) -> None:
        self.engine = TemplateEngine()
        self.programs = programs or Programs()
        self.helm: HelmBackend = BinaryHelm(self.programs) if self.programs.helm else SdkHelm()
        self.remembered = Remembered()


def render(request: RenderRequest, tools: Tools | None = None) -> RenderResult:
    """The objects of all sources with every layer applied. Raises `ManifestError`."""
    used = tools or Tools()
    objects: list[Manifest] = []
    stages: list[Stage] = []
    many = len(request.sources) > 1
    for number, source in enumerate(request.sources, 1):
        before = list(objects)
        if request.stages:
            prefix = f"source {number}: " if many else ""
            stages += _stages_of(source, request.variables, used, prefix=prefix, before=before)
        objects += _objects(source, request.variables, used)
    where = ", ".join(dict.fromkeys(one.where for one in request.sources))
    for name, changed in _layers(request, objects, used, where=where):
        objects = changed
        if request.stages:
            stages.append(Stage(name, tuple(objects)))
    return RenderResult(tuple(objects), tuple(stages))


def render_sealed(request: RenderRequest, sealing: Sealing, tools: Tools) -> SealedResult:
    """As `render`, with the values of Secrets sealed: what a worker of the hub hands out. Raises `ManifestError`."""
    objects = tools.remembered.get(sealing.key)
    if objects is not None:
        return sealed(objects, sealing)
    objects = render(request, tools).objects
    result = sealed(objects, sealing)
    if result.masks:
        tools.remembered.put(sealing.key, objects)
    return result


def _objects(source: AnySource, variables: Mapping[str, Any], tools: Tools) -> list[Manifest]:
    match source:
        case PlainSource():
            return objects_of(source, variables, tools.engine)
        case ChartSource():
            found = render_chart(source, tools.helm)
            check_stable(source, tools.helm, found)
            return [one for _, one in found]
        case KustomizeTree():
            return build(source, tools.programs)


def _layers(
    request: RenderRequest, objects: list[Manifest], tools: Tools, *, where: str
) -> Iterator[tuple[str, list[Manifest]]]:
    """(name, objects) after each layer over the sources' result that the request has."""
    if request.overlay is not None:
        objects = build(request.overlay, tools.programs, over=objects)
        yield f"overlay {request.overlay.path or '.'}", objects
    if request.patches:
        objects = patched(objects, request.patches, tools.programs, where=where)
        yield "patches of the Application", objects
    if any(request.common.values()):
        yield "common", with_common(objects, request.common)


def _stages_of(
    source: AnySource, variables: Mapping[str, Any], tools: Tools, *, prefix: str, before: list[Manifest]
) -> Iterator[Stage]:
    match source:
        case PlainSource():
            pairs = [
                (path, one)
                for path in sorted(source.files)
                for one in objects_of(_only(source, path), variables, tools.engine)
            ]
            yield _stage(f"{prefix}{'jinja2' if source.jinja else 'files'}", pairs, before)
        case ChartSource():
            for upto, name in enumerate(["chart defaults", *(layer.name for layer in source.layers)]):
                yield _step(f"{prefix}{name}", before, partial(render_chart, source, tools.helm, upto=upto))
        case KustomizeTree():
            for path in source.steps:
                yield _step(f"{prefix}kustomize {path or '.'}", before, partial(_built, source, tools, path))
            if source.options:
                done = build(source, tools.programs)
                yield _stage(f"{prefix}kustomize options", [("", one) for one in done], before)


def _built(tree: KustomizeTree, tools: Tools, path: str) -> list[tuple[str, Manifest]]:
    return [(path, one) for one in build(tree, tools.programs, path=path, options=False)]


def _step(name: str, before: list[Manifest], make: Callable[[], list[tuple[str, Manifest]]]) -> Stage:
    try:
        return _stage(name, make(), before)
    except ManifestError as error:
        # of a whole that cannot be rendered either, the rendering itself says so
        return Stage(name, tuple(before), problem=error.detail)


def _stage(name: str, pairs: list[tuple[str, Manifest]], before: list[Manifest]) -> Stage:
    origins = {str(ref_of(one)): path for path, one in pairs if path}
    return Stage(name, (*before, *(one for _, one in pairs)), origins)


def _only(source: PlainSource, path: str) -> PlainSource:
    return PlainSource(source.where, {path: source.files[path]}, source.jinja, source.values)


def _source_from_wire(data: Mapping[str, Any]) -> AnySource:
    match data["tool"]:
        case "helm":
            return ChartSource.from_wire(data)
        case "kustomize":
            return KustomizeTree.from_wire(data)
        case _:
            return PlainSource(**{key: value for key, value in data.items() if key != "tool"})
