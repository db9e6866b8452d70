"""JSON as the API server takes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

Loads: TypeAlias = Callable[[bytes], Any]
Dumps: TypeAlias = Callable[[Any], bytes]

_MISREAD = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]")
"""UTF-8 of what JSON allows raw in a string, and YAML refuses (controls, byte order mark) or folds."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps_compact(value: Any) -> bytes:
    """Compact JSON in UTF-8, not in escapes: as YAML, an escaped surrogate pair is two broken characters."""
    return _ENCODER.encode(value).encode()


def yaml_safe(data: bytes) -> bytes:
    r"""JSON that means the same when it is read as YAML, as the server reads apply patches.

    Without this a ConfigMap with U+2028 in a value would be stored with a space in its place.
    """
    if data.isascii() and b"\x7f" not in data:
        return data
    return _MISREAD.sub(lambda match: b"\\u%04x" % ord(match[0].decode()), data)
