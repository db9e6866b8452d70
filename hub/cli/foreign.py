"""Files of Argo CD where ours are expected: they are converted as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.kube.yaml import load_all
from hub.cli.failure import complain
from hub.cli.files import Document, InvalidFile, files_in, text_of
from hub.importers.convert import ARGO_GROUP, Imported, convert, is_argo
from hub.importers.project import is_cluster_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from agent.contract.manifest import Manifest
    from hub.importers.convert import Sourced


def read_foreign(paths: Iterable[Path]) -> list[Sourced]:
    """Argo CD's objects and cluster Secrets in these files, and below folders in files that mention it."""
    found: list[Sourced] = []
    for file, named in files_in(paths):
        text = text_of(file)
        if not named and ARGO_GROUP not in text:
            continue
        for obj in load_all(text, source=str(file)):
            if is_argo(obj) or is_cluster_secret(obj):
                _check(obj, file)
                found.append((str(file), obj))
    return found


def objects_in(paths: Iterable[Path]) -> list[Manifest]:
    """Every object in the files that are named themselves: what generators that ask somebody need is among them."""
    return [
        obj
        for file, named in files_in(paths)
        if named
        for obj in load_all(text_of(file), source=str(file))
        if isinstance(obj.get("metadata"), dict) and "name" in obj["metadata"]
    ]


def imported(
    objects: list[Sourced], *, namespace: str = "", servers: Mapping[str, str] | None = None
) -> Imported:
    """Ours. Raises `InvalidFile` for what cannot be read as what it says it is."""
    try:
        return convert(objects, namespace=namespace, servers=servers)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        files = ", ".join(sorted({source for source, _ in objects}))
        raise InvalidFile(f"{files}: not what Argo CD's API server accepts: {error!r}") from error


def documents_of(
    paths: Iterable[Path], *, more: Iterable[Path] = ()
) -> tuple[list[Document], list[Document]]:
    """Ours of what Argo CD has in `paths`, and in `more`, which are read together; notes go to stderr."""
    first, second = read_foreign(paths), read_foreign(more)
    done = imported([*first, *second])
    for note in done.notes:
        complain(str(note))
    sources = {source for source, _ in first}
    documents = [Document(source, obj) for source, obj in done.objects]
    return (
        [one for one in documents if one.source in sources],
        [one for one in documents if one.source not in sources],
    )


def _check(obj: object, file: Path) -> None:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise InvalidFile(f"{file}: a document without metadata.name")
