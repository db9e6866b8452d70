"""The provenance of a chart's archive: a clear-signed text with its digest. Blocking, since `gpg` reads it.

https://helm.sh/docs/topics/provenance/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hub.sources.errors import SignatureUntrusted
from hub.sources.verifiers import clear_text

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PROVENANCE = 1024 * 1024
_FILES = re.compile(r"^files:[ \t]*\n((?:[ \t]+\S.*\n?)+)", re.MULTILINE)
_FILE = re.compile(r"[ \t]+\S+:[ \t]+[\"']?sha256:([0-9a-f]{64})[\"']?[ \t]*")


def check_provenance(data: bytes, digest: str, keys: Sequence[str], *, what: str) -> None:
    """Return where the text is signed by one of the OpenPGP keys and names this digest (hex).

    Raises `SignatureUntrusted`. Only the signed part of the file is read.
    """
    text, problem = clear_text(data, keys)
    if problem:
        raise SignatureUntrusted(f"{what}: its provenance: {problem}")
    block = _FILES.search(text.replace("\r\n", "\n"))
    lines = block[1].splitlines() if block is not None else []
    if not any((match := _FILE.fullmatch(line)) is not None and match[1] == digest for line in lines):
        raise SignatureUntrusted(f"{what}: its provenance is of another archive")
