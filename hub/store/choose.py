"""Which store a URL means. The libraries of the others are not even loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from agent.contract.errors import TerminalError
from agent.contract.names import short_hash
from hub.store.disk import DiskStore
from hub.store.shared import SharedStore

if TYPE_CHECKING:
    from hub.store.port import BundleStore

_OBJECTS = ("s3", "gs", "az", "abfss")


class StoreInvalid(TerminalError):
    """The URL of the bundle store is of no kind that there is."""

    reason = "StoreInvalid"


def open_store(url: str, data_dir: Path) -> BundleStore:
    """A folder below `data_dir` where the URL is empty; else `file://`, `postgresql://`, `s3://`, `gs://`, `az://`.

    Raises `StoreInvalid`, and `StoreAway` where what is configured cannot even be tried.
    """
    if not url:
        return DiskStore(data_dir / "bundles")
    parts = urlsplit(url)
    scheme = parts.scheme
    if scheme == "file":
        return DiskStore(Path(unquote(parts.path)))
    # Of this place alone: what was kept in another is not in this one.
    place = f"{scheme}://{parts.hostname or ''}{parts.path}"
    local = DiskStore(data_dir / f"bundles-{short_hash(place)}")
    if scheme in {"postgresql", "postgres"}:
        from hub.store.postgres import PostgresRemote  # noqa: PLC0415 - only where it is used

        return SharedStore(PostgresRemote(url.replace("postgres://", "postgresql://", 1)), local)
    if scheme in _OBJECTS:
        from hub.store.objects import ObjectRemote  # noqa: PLC0415 - as above

        return SharedStore(ObjectRemote(url), local)
    raise StoreInvalid(
        f"bundles cannot be kept in {scheme or 'this'!a}: say file://, postgresql://, {'://, '.join(_OBJECTS)}://"
    )
