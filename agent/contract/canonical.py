"""One byte string for one value: what digests, signatures and blobs are taken over."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8, and no NaN. Equal values give equal bytes, on any machine."""
    return _ENCODER.encode(value).encode()


def sha256_hex(data: bytes) -> str:
    """The full hex sha256: digests and blobs on the wire are never shortened."""
    return hashlib.sha256(data).hexdigest()
