"""Files between the hub and its workers: frames are JSON, so what is no text travels as base64."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Content = dict[str, "str | dict[str, str]"]
"""A path's text, or `{"base64": ...}`."""


def packed(files: Mapping[str, bytes]) -> Content:
    """Files as JSON."""
    found: Content = {}
    for path, data in files.items():
        try:
            found[path] = data.decode()
        except UnicodeDecodeError:
            found[path] = {"base64": base64.b64encode(data).decode()}
    return found


def texts(files: Mapping[str, bytes]) -> dict[str, str]:
    """Those of the files that are text."""
    return {path: text for path, text in packed(files).items() if isinstance(text, str)}


def unpacked(content: str | Mapping[str, str]) -> bytes:
    """One file's bytes."""
    return content.encode() if isinstance(content, str) else base64.b64decode(content["base64"])


def text_of(content: str | Mapping[str, str]) -> str:
    """One file's text, without the mark that some editors put first. UnicodeDecodeError where it is none."""
    return content.removeprefix("\ufeff") if isinstance(content, str) else unpacked(content).decode()
