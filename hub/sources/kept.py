"""Archives on disk by their sha256, checked again when they are read, and where each was found. Blocking.

What an archive was found as (the manifest that named it, the address of its provenance) is kept beside it: signatures
are asked for later, and after a restart, of the very thing that was resolved.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from hub.sources.errors import RepositoryUnreachable


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an archive came from."""

    chart: bool = True
    """Whether its files are below a folder of the chart's name."""
    url: str = ""
    """Of the archive, in a Helm repository."""
    manifest: str = ""
    """`sha256:` and the digest of the manifest that names it, in a registry."""


class KeptArchives:
    """One folder of archives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, digest: str) -> bool:
        return self._path(digest).exists()

    def known(self, digest: str, address: str) -> bool:
        """Whether it is there and was found at this address: to name a digest is no right to what has it."""
        return self.has(digest) and address in self._origins(digest)

    def put(self, digest: str, data: bytes) -> None:
        self._write(self._path(digest), data)

    def get(self, digest: str) -> bytes:
        """Raises `RepositoryUnreachable`: whoever asks for it anew gets it fetched again."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise RepositoryUnreachable(f"archive {digest[:12]} is not in the cache: refresh") from error
        if hashlib.sha256(data).hexdigest() != digest:
            self._path(digest).unlink(missing_ok=True)
            raise RepositoryUnreachable(f"archive {digest[:12]}: what was kept is damaged: refresh")
        return data

    def found_as(self, digest: str, address: str, origin: Origin) -> None:
        """Note it; nothing is written where it is known."""
        known = self._origins(digest)
        if known.get(address) != asdict(origin):
            known[address] = asdict(origin)
            self._write(self._beside(digest), json.dumps(known).encode())

    def origin(self, digest: str, address: str) -> Origin:
        """Where the archive was found at this address. Raises `RepositoryUnreachable` where nobody knows."""
        known = self._origins(digest).get(address)
        if known is None:
            raise RepositoryUnreachable(f"{address}: archive {digest[:12]} is not known from there: refresh")
        chart, url, manifest = known.get("chart"), known.get("url"), known.get("manifest")
        return Origin(chart=chart is not False, url=str(url or ""), manifest=str(manifest or ""))

    def _origins(self, digest: str) -> dict[str, dict[str, object]]:
        try:
            found = json.loads(self._beside(digest).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.tgz"

    def _beside(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"

    def _write(self, path: Path, data: bytes) -> None:
        """Whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
