"""Archives of charts and artifacts, opened in memory: files only, inside their folder, up to a bound. Pure."""

from __future__ import annotations

import io
import posixpath
import tarfile
import zlib

from hub.sources.errors import ArtifactInvalid, ChartInvalid, SourceError, SourceTooLarge

MAX_FILES = 20_000
_GZIP = 16 + zlib.MAX_WBITS


def files_of(data: bytes, *, limit_bytes: int, where: str, chart: bool = True) -> dict[str, bytes]:
    """Every file by its path, of a chart below the chart's folder.

    Raises `ChartInvalid` or `ArtifactInvalid`, `SourceTooLarge`. Links, devices and paths that climb are refused,
    not left out: nobody packs them by accident.
    """
    invalid = ChartInvalid if chart else ArtifactInvalid
    plain = _unzipped(data, limit_bytes=limit_bytes, where=where, invalid=invalid)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for entry in tar:
                if entry.isdir():
                    continue
                path = posixpath.normpath(entry.name.replace("\\", "/"))
                if not entry.isreg() or entry.issparse() or path.startswith(("/", "../")) or path == "..":
                    raise invalid(f"{where}: its archive holds a link, a sparse file, or a path outside it")
                if len(found) >= MAX_FILES:
                    raise SourceTooLarge(f"{where}: more than {MAX_FILES} files")
                if entry.size > len(plain):
                    raise invalid(f"{where}: its archive says more than it holds")
                content = tar.extractfile(entry)
                inner = path.partition("/")[2] if chart else path
                if inner and content is not None:
                    found[inner] = content.read()
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:  # malformed headers give any
        raise invalid(f"{where}: its archive is no tar: {error}") from error
    if chart and "Chart.yaml" not in found:
        raise ChartInvalid(f"{where}: its archive holds no Chart.yaml")
    return found


def _unzipped(data: bytes, *, limit_bytes: int, where: str, invalid: type[SourceError]) -> bytes:
    """Bounded before it is unpacked: headers of a tar take some of the room, hence twice the bound."""
    inflate = zlib.decompressobj(_GZIP)
    try:
        plain = inflate.decompress(data, 2 * limit_bytes)
    except zlib.error as error:
        raise invalid(f"{where}: its archive is no gzip: {error}") from error
    if inflate.unconsumed_tail:
        raise SourceTooLarge(f"{where}: it unpacks to more than {2 * limit_bytes} bytes")
    return plain
