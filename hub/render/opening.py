"""A source before its tool runs: in the clear what was encrypted, and its words for errors. Workers run it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from hub.core.params import params_text
from hub.render.chart import ChartSource, values_of
from hub.render.content import text_of
from hub.render.jsonnet import JsonnetTree
from hub.render.kustomize import KustomizeTree
from hub.render.plain import ManifestError, PlainSource
from hub.render.plugin import PluginTree
from hub.render.sops import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub.render.chart import ValuesLayer
    from hub.render.confidential import Confidential
    from hub.render.pipeline import AnySource
    from hub.render.sops import DecryptionKeys, Opener


@contextmanager
def told(layer: str, params: Callable[[], str] = str) -> Iterator[None]:
    """An error in it names the layer, and what the layer was given."""
    try:
        yield
    except ManifestError as error:
        if error.layer:
            raise
        raise error.but(layer=layer, params=error.params or params()) from error


def tool_of(source: AnySource) -> str:
    match source:
        case PlainSource():
            return "jinja2" if source.templated else "files"
        case ChartSource():
            return "helm"
        case KustomizeTree():
            return "kustomize"
        case JsonnetTree():
            return "jsonnet"
        case PluginTree():
            return f"plugin {source.name}"


def params_of(source: AnySource) -> str:
    """What it is rendered with, as far as anybody may see it; a template's own error knows it better."""
    match source:
        case ChartSource():
            values = values_of(source, [one for one in source.layers if not one.secret])
            return params_text(values) if values else ""
        case KustomizeTree() if source.options:
            return params_text(source.options)
        case JsonnetTree() if source.tlas or source.ext_vars:
            return params_text({one["name"]: one.get("value") for one in (*source.ext_vars, *source.tlas)})
        case PluginTree() if source.parameters:
            return params_text(source.parameters)
        case _:
            return ""


def opened(source: AnySource, keys: DecryptionKeys, opener: Opener, secret: Confidential) -> AnySource:
    """The source with everything in the clear that was encrypted, or is secret by where it comes from."""
    if isinstance(source, ChartSource):
        layers = tuple(_opened_layer(one, source, keys, opener, secret) for one in source.layers)
        return replace(source, layers=layers)
    files = opener.files(source.files, keys, secret, where=source.where)
    if all(files[path] is source.files[path] for path in files):
        return source
    match source:
        case PlainSource() if any(
            source.is_template(path) and files[path] is not source.files[path] for path in files
        ):
            raise ManifestError(
                "a template is encrypted: put what is secret into a file that is none, or into a source of its own",
                where=source.where,
                reason="DecryptionFailed",
            )
        case PlainSource() | JsonnetTree():
            return replace(source, files={path: text_of(one) for path, one in files.items()})
        case KustomizeTree() | PluginTree():
            return replace(source, files=files)


def _opened_layer(
    layer: ValuesLayer, source: ChartSource, keys: DecryptionKeys, opener: Opener, secret: Confidential
) -> ValuesLayer:
    if layer.text is not None and not layer.secret and is_encrypted(layer.text):
        text = opener.text(layer.name, layer.text, keys, secret, where=source.where)
        return replace(layer, text=text, secret=True)
    if layer.secret:
        secret.add([one["value"] for one in layer.parameters])
        secret.add(values_of(source, [layer]))
    return layer
