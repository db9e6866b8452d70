"""JSON by the parser that pydantic brings along, for a process that has it anyway.

It says what the standard library's says, in half the time to read and a tenth to write. What it refuses (depth, lone
surrogates) goes to the other, which decides.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

from agent.kube.encoding import dumps_compact


def loads(data: bytes) -> Any:
    """The value, as of `json.loads`. Raises `ValueError`. Names of fields are one string in memory for all objects."""
    try:
        return from_json(data, cache_strings="keys")
    except ValueError:
        return json.loads(data)


def dumps(value: Any) -> bytes:
    """The bytes of `dumps_compact`, or others that say the same. Raises `ValueError`."""
    try:
        data = to_json(value)
    except ValueError:
        return dumps_compact(value)
    # No JSON, where it is a number: the other says so. Where it is in a text, both write the same.
    return dumps_compact(value) if b"NaN" in data or b"Infinity" in data else data
