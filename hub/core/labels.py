"""What Kubernetes takes as a label, so that who writes one hears it before the API server says so. Pure."""

from __future__ import annotations

import re

_WORD = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = re.compile(rf"(?:{_WORD})?")
_KEY = re.compile(rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_WORD}")


def is_label_key(key: str) -> bool:
    """`name` or `prefix/name`; the name has at most 63 characters."""
    return _KEY.fullmatch(key) is not None


def is_label_value(value: str) -> bool:
    """Empty, or at most 63 characters."""
    return _VALUE.fullmatch(value) is not None
