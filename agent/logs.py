"""The agent's log: one JSON object a line, each with the cluster and the app that it is about.

Code names what it works on once (`about`), and every line written below it carries that. Several agents may share a
process, so that the cluster is part of it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IDENTITY = ("application", "cluster")
"""Fields of a line: an app as `namespace/name`, a cluster by its name. Also as `extra` of a single one."""
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - never written to


@contextmanager
def about(*, application: str = "", cluster: str = "") -> Iterator[None]:
    """Lines within this task, and the tasks that it starts, are about these; what is not named stays as it was."""
    named = {"application": application, "cluster": cluster}
    token = _about.set({**_about.get(), **{name: value for name, value in named.items() if value}})
    try:
        yield
    finally:
        _about.reset(token)


class JsonLines(logging.Formatter):
    """What log collectors on a cluster read without a configuration."""

    def format(self, record: logging.LogRecord) -> str:
        known = _about.get()
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in IDENTITY:
            value = getattr(record, name, "") or known.get(name, "")
            if value:
                line[name] = str(value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def setup(level: str) -> None:
    """Log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
