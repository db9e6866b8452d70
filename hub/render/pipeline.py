"""One app's rendering, from files to objects, in one fixed order of layers. Workers run it.

Sources (each by one tool), the overlay over all of them, patches, then common labels, annotations and namespace.
Equal requests give equal objects in an equal order. Stages, the objects after each step, are made only where a
request asks for them: for a chart one rendering a layer of values, for a kustomization one a folder it builds on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.contract.manifest import ref_of
from hub.core.params import params_text
from hub.core.templating import TemplateEngine
from hub.render.chart import ChartSource, check_stable, render_chart
from hub.render.common import with_common
from hub.render.confidential import Confidential
from hub.render.helmbinary import BinaryHelm
from hub.render.helmsdk import SdkHelm
from hub.render.jsonnet import JsonnetTree, evaluate
from hub.render.kustomize import KustomizeTree, build, patched
from hub.render.opening import opened, params_of, told, tool_of
from hub.render.plain import ManifestError, PlainSource, objects_of
from hub.render.plugin import PluginTree, printed
from hub.render.programs import Programs
from hub.render.schemas import check_schemas
from hub.render.seal import Remembered, SealedResult, Sealing, sealed
from hub.render.sops import DecryptionKeys, Opener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agent.contract.manifest import Manifest
    from hub.render.chart import HelmBackend

AnySource = PlainSource | ChartSource | KustomizeTree | JsonnetTree | PluginTree


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One app's sources and layers, and what its templates see beside each source's own values."""

    sources: tuple[AnySource, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)
    """`cluster` and `app`."""
    overlay: KustomizeTree | None = None
    patches: tuple[Mapping[str, Any], ...] = ()
    common: Mapping[str, Any] = field(default_factory=dict)
    set_patches: tuple[Mapping[str, Any], ...] = ()
    """Those of the app's set, over its own."""
    stages: bool = False
    keys: DecryptionKeys = field(default_factory=DecryptionKeys, repr=False)
    """The project's, for files that are encrypted."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "sources": [one.to_wire() for one in self.sources],
            "variables": self.variables,
            "overlay": self.overlay.to_wire() if self.overlay else None,
            "patches": self.patches,
            "common": self.common,
            "set_patches": self.set_patches,
            "stages": self.stages,
            "keys": self.keys.to_wire(),
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> RenderRequest:
        return RenderRequest(
            tuple(map(_source_from_wire, data["sources"])),
            data["variables"],
            KustomizeTree.from_wire(data["overlay"]) if data["overlay"] else None,
            tuple(data["patches"]),
            data["common"],
            tuple(data["set_patches"]),
            stages=data["stages"],
            keys=DecryptionKeys.from_wire(data["keys"]),
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """The objects once one layer was applied. `origins` names the template or file of an object, by its reference."""

    name: str
    objects: tuple[Manifest, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why this step alone gives nothing, where the whole does: a chart that requires a value set later."""
    secret: bool = False
    """What it sets is nobody's to see."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "objects": self.objects,
            "origins": self.origins,
            "problem": self.problem,
            "secret": self.secret,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> Stage:
        return Stage(
            data["name"], tuple(data["objects"]), data["origins"], data["problem"], secret=data["secret"]
        )


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
        self.opener = Opener(self.programs)


def render(request: RenderRequest, tools: Tools | None = None) -> RenderResult:
    """The objects of all sources with every layer applied. Raises `ManifestError`, with no secret value in it."""
    secret = Confidential()
    try:
        return render_with(request, tools or Tools(), secret)
    except ManifestError as error:
        raise secret.without(error) from None  # the first one's text may hold a value


def render_with(request: RenderRequest, tools: Tools, secret: Confidential) -> RenderResult:
    """As `render`, for who goes on with what is secret in it: errors may hold values, which `secret` knows then."""
    objects: list[Manifest] = []
    stages: list[Stage] = []
    many = len(request.sources) > 1
    for number, given in enumerate(request.sources, 1):
        before = list(objects)
        prefix = f"source {number}: " if many else ""
        with told(f"{prefix}{tool_of(given)}", partial(params_of, given)):
            source = opened(given, request.keys, tools.opener, secret)
            objects += _objects(source, request.variables, tools)
            if request.stages:
                stages += _stages_of(source, request.variables, tools, prefix=prefix, before=before)
    where = ", ".join(dict.fromkeys(one.where for one in request.sources))
    for name, changed in _layers(request, objects, tools, secret):
        objects = changed
        if request.stages:
            stages.append(Stage(name, tuple(objects)))
    secret.check(objects, where=where)
    check_schemas(objects, where=where)
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
        case JsonnetTree():
            return [one for _, one in evaluate(source)]
        case PluginTree():
            return printed(source, variables, tools.programs)


def _layers(
    request: RenderRequest, objects: list[Manifest], tools: Tools, secret: Confidential
) -> Iterator[tuple[str, list[Manifest]]]:
    """(name, objects) after each layer over the sources' result that the request has."""
    where = ", ".join(dict.fromkeys(one.where for one in request.sources))
    if request.overlay is not None:
        name = f"overlay {request.overlay.path or '.'}"
        with told(name):
            tree = opened(request.overlay, request.keys, tools.opener, secret)
            objects = (
                build(tree, tools.programs, over=objects) if isinstance(tree, KustomizeTree) else objects
            )
        yield name, objects
    for owner, patches in (("Application", request.patches), ("ApplicationSet", request.set_patches)):
        if patches:
            name = f"patches of the {owner}"
            with told(name, partial(_said, patches)):
                objects = patched(objects, patches, tools.programs, where=where)
            yield name, objects
    if any(request.common.values()):
        yield "common", with_common(objects, request.common)


def _said(patches: Sequence[Mapping[str, Any]]) -> str:
    return params_text({"patches": [one["patch"] for one in patches]})


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
            yield _stage(f"{prefix}{'jinja2' if source.templated else 'files'}", pairs, before)
        case ChartSource():
            yield _step(f"{prefix}chart defaults", before, partial(render_chart, source, tools.helm, upto=0))
            for upto, layer in enumerate(source.layers, 1):
                make = partial(render_chart, source, tools.helm, upto=upto)
                yield replace(_step(f"{prefix}{layer.name}", before, make), secret=layer.secret)
        case KustomizeTree():
            for path in source.steps:
                yield _step(f"{prefix}kustomize {path or '.'}", before, partial(_built, source, tools, path))
            if source.options:
                done = build(source, tools.programs)
                yield _stage(f"{prefix}kustomize options", [("", one) for one in done], before)
        case JsonnetTree():
            yield _stage(f"{prefix}jsonnet", evaluate(source), before)
        case PluginTree():
            done = printed(source, variables, tools.programs)
            yield _stage(f"{prefix}plugin {source.name}", [("", one) for one in done], before)


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
        case "jsonnet":
            return JsonnetTree.from_wire(data)
        case "plugin":
            return PluginTree.from_wire(data)
        case _:
            return PlainSource(**{key: value for key, value in data.items() if key != "tool"})
