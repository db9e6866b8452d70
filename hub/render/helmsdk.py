"""Helm in process: the chart is packed in memory and handed to the SDK, which reads no file and no network.

`lookup` sees nothing and names are not resolved. The library is a Go runtime inside this process; it is loaded
with the first chart.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from hub.render.content import unpacked
from hub.render.helmignore import InvalidIgnore, kept
from hub.render.installable import check_installable
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.render.chart import ChartSource
    from hub.render.content import Content

_CHARTS = 8
_KEEPING = re.compile(r"[|>](?:[1-9]?\+|\+[1-9])[ \t]*(?:#.*)?\r?$", re.MULTILINE)
"""A text that keeps all newlines at its end."""
_REPLACED = re.compile(r"(?<!\\)((?:\\\\)*)\\ufffd")
_SEPARATOR = re.compile(r"^---[ \t]*", re.MULTILINE)
_PLACE = re.compile(r"\(?(?:[^\s()]*?/)?((?:charts/[^\s():]+/)*templates/[^\s():]+):(\d+)(?::\d+)?\)?")


class _Loaded(NamedTuple):
    handle: Any
    """The SDK's chart, which frees itself when nobody holds it any more."""
    metadata: dict[str, Any]
    crds: list[dict[str, str]] | None
    """None where rendering decides which of the charts within are there."""


class SdkHelm:
    """Keeps the last few charts loaded; packed where they have dependencies: rendering removes those that are off."""

    def __init__(self) -> None:
        self._archives: OrderedDict[str, bytes] = OrderedDict()
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def template(self, source: ChartSource, values: Mapping[str, Any]) -> dict[str, str]:
        from helm_python import HelmError, _native  # noqa: PLC0415 - 50 MB that only charts need

        options = {
            "name": source.release,
            "namespace": source.namespace,
            "kube_version": f"v{source.kube_version.removeprefix('v')}",
            "api_versions": list(source.api_versions),
        }
        try:
            chart = self._chart(source)
            check_installable(source, chart.metadata)
            answer = _native.call_string(
                "helm_render",
                chart.handle._raw(),  # noqa: SLF001 - the same call as the SDK's own method, with capabilities
                json.dumps(values),
                json.dumps(options),
            )
            texts: dict[str, str] = _texts(source, answer)
            crds = [] if source.skip_crds else chart.handle.crds if chart.crds is None else chart.crds
        except HelmError as error:
            raise failure(source, str(error)) from error
        found = {}
        for path, text in texts.items():
            inner = path.partition("/")[2]
            if (
                not inner.rpartition("/")[2].startswith("_")
                and not inner.endswith("NOTES.txt")
                and text.strip()
            ):
                found[inner] = _as_printed(text)
        for crd in crds:
            found[crd["filename"].partition("/")[2]] = crd["data"]
        return found

    def _chart(self, source: ChartSource) -> _Loaded:
        """Loaded, and its CRDs: the one that is kept, where rendering leaves it as it is."""
        from helm_python import Chart  # noqa: PLC0415 - as above

        found = self._loaded.get(source.identity)
        if found is None:
            handle = Chart.load_archive(self._archive(source))
            if _has_dependencies(source):
                return _Loaded(handle, handle.metadata, None)
            found = _Loaded(handle, handle.metadata, handle.crds)
            self._loaded[source.identity] = found
            self._archives.pop(source.identity, None)
            if len(self._loaded) > _CHARTS:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(source.identity)
        return found

    def _archive(self, source: ChartSource) -> bytes:
        found = self._archives.get(source.identity)
        if found is None:
            found = self._archives[source.identity] = archive(_kept(source))
            if len(self._archives) > _CHARTS:
                self._archives.popitem(last=False)
        self._archives.move_to_end(source.identity)
        return found


def _texts(source: ChartSource, answer: str) -> dict[str, str]:
    """What was rendered, by template. Raises `ManifestError` for what is no UTF-8, which the program refuses as well.

    The SDK gives its answer as JSON, written by Go: for bytes that are none that has the escape of U+FFFD, for the
    character itself its own bytes.
    """
    texts: dict[str, str] = json.loads(answer)
    if "\\ufffd" not in answer or _REPLACED.search(answer) is None:
        return texts
    path = next(path for path, text in texts.items() if "\ufffd" in text)
    raise ManifestError(
        "it renders to what is not UTF-8 text", where=source.where, file=path.partition("/")[2]
    )


def _as_printed(text: str) -> str:
    """As Helm prints it: each document begins a line, and one more newline ends it, which `|+` counts."""
    if _KEEPING.search(text) is None:
        return text if text.endswith("\n") else f"{text}\n"
    documents = [one.lstrip() for one in _SEPARATOR.split(text.lstrip()) if one.strip()]
    return "---\n".join(f"{one}\n" for one in documents)


def _has_dependencies(source: ChartSource) -> bool:
    """Whether there is any word of one: too careful at most."""
    files = source.files
    named = any("dependencies" in str(files.get(name, "")) for name in ("Chart.yaml", "requirements.yaml"))
    return named or any(path.startswith("charts/") for path in files)


def _kept(source: ChartSource) -> Content:
    try:
        return kept(source.files)
    except InvalidIgnore as error:
        raise ManifestError(str(error), where=source.where, reason=error.reason) from error


def archive(files: Content) -> bytes:
    """A chart archive in memory, the same bytes for the same files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            data = unpacked(files[path])
            entry = tarfile.TarInfo(f"chart/{path}")
            entry.size = len(data)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), compresslevel=1, mtime=0)


def failure(source: ChartSource, text: str) -> ManifestError:
    """Helm's message, with the template and the line where it says them."""
    line = " ".join(text.split())[:2000]
    place = _PLACE.search(line)
    return ManifestError(
        line,
        where=source.where,
        file=place[1] if place else "",
        line=int(place[2]) if place else None,
        reason="HelmFailed",
    )
