"""A bearer token that lives in a file which somebody else renews."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_REREAD = 60.0
"""Seconds between looks at the file: the kubelet renews an hour's token long before it ends."""


class TokenFile:
    """The Authorization header of a token file, read again every minute, and at once when it was refused."""

    __slots__ = ("_header", "_path", "_read_at")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header = ""
        self._read_at = float("-inf")

    def header(self) -> str:
        """The current header value. Raises OSError only if the file was never readable."""
        if time.monotonic() - self._read_at >= _REREAD:
            self.reread()
        return self._header

    def reread(self) -> bool:
        """Read the file now; whether the token changed."""
        try:
            header = f"Bearer {self._path.read_text().strip()}"
        except OSError:
            if not self._header:
                raise
            return False
        self._read_at = time.monotonic()
        changed, self._header = header != self._header, header
        return changed
