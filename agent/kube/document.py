"""One document of a configuration file: JSON, which programs write, or YAML, which people do."""

from __future__ import annotations

import json
from typing import Any


def read_document(data: bytes, *, source: str) -> Any:
    """The value, None for an empty file. Raises `YamlError`, with line and column.

    The YAML parser is loaded only where the file is not JSON: it is 1.4 MB of an agent's memory.
    """
    if data.lstrip().startswith(b"{"):
        try:
            return json.loads(data)
        except ValueError:
            pass  # flow style, or broken: the other parser knows, and says where
    from agent.kube.yaml import load_value  # noqa: PLC0415 - see above

    return load_value(data, source=source)
