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
from typing import TYPE_CHECKING, Any

from hub.render.content import unpacked
from hub.render.helmignore import InvalidIgnore, kept
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.render.chart import ChartSource
    from hub.render.content import Content

_CHARTS = 8
_PLACE = re.compile(r"\(?(?:[^\s()]*?/)?((?:charts/[^\s():]+/)*templates/[^\s():]+):(\d+)(?::\d+)?\)?")


class SdkHelm:
    """Keeps the last few charts packed. A loaded one is not kept: rendering removes disabled dependencies from it."""

    def __init__(self) -> None:
        self._archives: OrderedDict[str, bytes] = OrderedDict()

    def template(self, source: ChartSource, values: Mapping[str, Any]) -> dict[str, str]:
        from helm_python import Chart, HelmError, _native  # noqa: PLC0415 - 50 MB that only charts need

        options = {
            "name": source.release,
            "namespace": source.namespace,
            "kube_version": f"v{source.kube_version.removeprefix('v')}",
            "api_versions": list(source.api_versions),
        }
        try:
            with Chart.load_archive(self._archive(source)) as chart:
                answer = _native.call_string(
                    "helm_render",
                    chart._raw(),  # noqa: SLF001 - the same call as the SDK's own method, with capabilities
                    json.dumps(values),
                    json.dumps(options),
                )
                texts: dict[str, str] = json.loads(answer)
                crds = [] if source.skip_crds else chart.crds
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
                # as Helm prints it: a text that ends a file may want its newline
                found[inner] = text if text.endswith("\n") else f"{text}\n"
        for crd in crds:
            found[crd["filename"].partition("/")[2]] = crd["data"]
        return found

    def _archive(self, source: ChartSource) -> bytes:
        found = self._archives.get(source.identity)
        if found is None:
            found = self._archives[source.identity] = archive(_kept(source))
            if len(self._archives) > _CHARTS:
                self._archives.popitem(last=False)
        self._archives.move_to_end(source.identity)
        return found


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
