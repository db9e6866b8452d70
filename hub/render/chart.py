"""Helm charts: values in layers, one of two back ends, objects in a fixed order. Workers run it.

Both back ends get the same chart and the same merged values, and must give equal objects: the SDK inside the
worker (a millisecond), and the `helm` program (a hundred). Neither resolves dependencies: a chart brings them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agent.contract.manifest import ref_of
from agent.kube.yaml import YamlError, load_value
from hub.render.content import Content, text_of
from hub.render.plain import ManifestError, parsed
from hub.render.similar import load_similar
from hub.render.unstable import naming, others
from hub.render.values import InvalidParameter, merged, with_parameter
from hub.sources.chartlock import brought

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Protocol

    from agent.contract.manifest import Manifest

    class HelmBackend(Protocol):
        def template(self, source: ChartSource, values: Mapping[str, Any]) -> dict[str, str]:
            """Rendered text by the template's path within the chart, CRDs by theirs, partials left out."""


DEFAULT_KUBE_VERSION = "1.36.0"
"""What templates see of a cluster that has not said its version yet. Fixed, so that back ends agree."""
HOOK = "helm.sh/hook"
_NAMING = ("Chart.yaml", "requirements.yaml")
"""Files that may name dependencies."""
_CRDS = "/crds/"
_SHORT = 8192
"""Characters up to which a rendered text is remembered with its objects."""
_TESTS = {"test", "test-success", "test-failure"}
_GLUED = re.compile(r"^---(?=[^\s-])", re.MULTILINE)
"""Where a template's trimming took the line's end: Helm begins a document after the dashes, whatever follows them."""


class UnstableRender(ManifestError):
    """A chart that makes something up each time it is rendered."""

    reason = "UnstableRender"


@dataclass(frozen=True, slots=True)
class ValuesLayer:
    """One step of a chart's values: a file's text, or a map. `name` says which in errors and explanations."""

    name: str
    text: str | None = None
    value: Mapping[str, Any] | None = None
    parameters: tuple[Mapping[str, Any], ...] = ()
    secret: bool = False
    """Its values are nobody's to see: from a Secret, or from a file that was encrypted."""

    def to_wire(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "text": self.text,
            "value": self.value,
            "parameters": list(self.parameters),
            "secret": self.secret,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> ValuesLayer:
        return ValuesLayer(
            data["name"], data["text"], data["value"], tuple(data["parameters"]), secret=data["secret"]
        )


@dataclass(frozen=True, slots=True)
class ChartSource:
    """A chart and what it is rendered with. `identity` changes with the chart's files: workers cache by it."""

    where: str
    identity: str
    files: Content
    release: str
    namespace: str
    layers: tuple[ValuesLayer, ...] = ()
    kube_version: str = DEFAULT_KUBE_VERSION
    api_versions: tuple[str, ...] = ()
    skip_crds: bool = False

    def to_wire(self) -> dict[str, Any]:
        return {
            "tool": "helm",
            "where": self.where,
            "identity": self.identity,
            "files": self.files,
            "release": self.release,
            "namespace": self.namespace,
            "layers": [one.to_wire() for one in self.layers],
            "kube_version": self.kube_version,
            "api_versions": self.api_versions,
            "skip_crds": self.skip_crds,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> ChartSource:
        fields = {key: value for key, value in data.items() if key != "tool"}
        fields["layers"] = tuple(ValuesLayer.from_wire(one) for one in data["layers"])
        fields["api_versions"] = tuple(data["api_versions"])
        return ChartSource(**fields)


def render_chart(
    source: ChartSource, backend: HelmBackend, *, upto: int | None = None
) -> list[tuple[str, Manifest]]:
    """(template, object) of all that the chart gives, sorted by object. Raises `ManifestError`.

    `upto` takes the first layers of values alone. Objects of tests are left out: nobody deploys those.
    """
    if "Chart.yaml" not in source.files or any(
        "dependencies" in str(source.files.get(name, "")) for name in _NAMING
    ):
        _check_dependencies(source)
    values = values_of(source, source.layers if upto is None else source.layers[:upto])
    found: list[tuple[str, Manifest]] = []
    for path, printed in sorted(backend.template(source, values).items()):
        glued = "---" in printed and _CRDS not in f"/{path}"
        text = _GLUED.sub("---\n", printed) if glued else printed
        read = _remembered if len(text) <= _SHORT else _parsed
        manifests = read(text, source.where, path)
        found.extend((path, one) for one in manifests if not _is_test(one))
    found.sort(key=lambda pair: (str(ref_of(pair[1])), pair[0]))
    return [pair for at, pair in enumerate(found) if not (at and _is_again(pair, found[at - 1]))]


def _is_again(pair: tuple[str, Manifest], before: tuple[str, Manifest]) -> bool:
    """Whether it is the CRD that another chart within brought already, as two aliases of one chart do."""
    return _CRDS in f"/{pair[0]}" and _CRDS in f"/{before[0]}" and pair[1] == before[1]


def _parsed(text: str, where: str, path: str) -> list[Manifest]:
    return parsed(text, where=where, file=path, rendered=True, load=load_similar)


_remembered = lru_cache(maxsize=256)(_parsed)
"""Most templates give the same text for most clusters. Objects are never changed in place."""


def check_stable(source: ChartSource, backend: HelmBackend, found: list[tuple[str, Manifest]]) -> None:
    """Raise `UnstableRender` where another rendering of the same gives something else.

    Only charts that call what can differ are rendered again. Unnoticed, each later change of any value would
    also change a password.
    """
    calling = naming(source)
    if not calling:
        return
    for other in others(source):
        try:
            again = render_chart(other, backend)
        except ManifestError:
            if other is source:
                raise
            continue  # that is no rendering that anybody asked for
        if again == found:
            continue
        first, second = dict(_by_ref(found)), dict(_by_ref(again))
        refs = sorted(ref for ref in first.keys() | second.keys() if first.get(ref) != second.get(ref))
        raise UnstableRender(
            f"each rendering gives another {', '.join(refs[:5])}: set the values that it would make up",
            where=source.where,
            file=calling[0],
        )


def _by_ref(found: list[tuple[str, Manifest]]) -> Iterator[tuple[str, Manifest]]:
    for _, one in found:
        yield str(ref_of(one)), one


def values_of(source: ChartSource, layers: Sequence[ValuesLayer]) -> dict[str, Any]:
    """What the layers come to, over nothing: the chart's own defaults are Helm's to add."""
    values: dict[str, Any] = {}
    for layer in layers:
        values = merged(values, _value(source, layer))
        for one in layer.parameters:
            try:
                values = with_parameter(
                    values, one["name"], one["value"], as_text=one.get("forceString", False)
                )
            except InvalidParameter as error:
                raise ManifestError(str(error), where=source.where, reason=error.reason) from error
    return values


def _value(source: ChartSource, layer: ValuesLayer) -> Mapping[str, Any]:
    if layer.text is None:
        return layer.value or {}
    try:
        value = load_value(layer.text, source=layer.name)
    except YamlError as error:
        raise ManifestError(
            error.problem, where=source.where, file=layer.name, line=error.line or None
        ) from error
    if not isinstance(value, dict | None):
        raise ManifestError("values must be a map", where=source.where, file=layer.name)
    return value or {}


def _check_dependencies(source: ChartSource) -> None:
    """Every dependency that the chart names must be in it: rendering fetches nothing."""
    chart = _chart_yaml(source, "Chart.yaml")
    dependencies = chart.get("dependencies") or []
    if chart.get("apiVersion") == "v1" and "requirements.yaml" in source.files:
        dependencies = _chart_yaml(source, "requirements.yaml").get("dependencies") or []
    there = brought(source.files, lambda path: _chart_yaml(source, path))
    for one in dependencies if isinstance(dependencies, list) else ():
        name = str(one.get("name", "")) if isinstance(one, dict) else ""
        if not there.holds(name):
            raise ManifestError(
                f"dependency {name!r} is not in charts/: vendor it (helm dependency build)",
                where=source.where,
                file="Chart.yaml",
                reason="ChartDependencyMissing",
            )


def _chart_yaml(source: ChartSource, name: str) -> dict[str, Any]:
    try:
        found = load_value(text_of(source.files[name]), source=name)
    except KeyError as error:
        raise ManifestError("it is no chart: there is no Chart.yaml", where=source.where) from error
    except UnicodeDecodeError as error:
        raise ManifestError("it is not UTF-8 text", where=source.where, file=name) from error
    except YamlError as error:
        raise ManifestError(error.problem, where=source.where, file=name, line=error.line or None) from error
    if not isinstance(found, dict):
        raise ManifestError("it must be a map", where=source.where, file=name)
    return found


def _is_test(manifest: Manifest) -> bool:
    hook = (manifest["metadata"].get("annotations") or {}).get(HOOK)
    return hook is not None and bool({one.strip() for one in hook.split(",")} & _TESTS)
