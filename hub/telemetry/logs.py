"""The hub's log on stderr: JSON lines for collectors, or text for people; each names the app or cluster it is about.

Code names what it works on once (`about`), and every line written below it carries that, whoever writes it.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMATS = ("json", "text")
IDENTITY = ("application", "applicationset", "cluster")
"""Fields of a line, as `namespace/name`; a cluster by its name. Also as `extra` of a single one."""
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default={})  # noqa: B039 - never written to


@contextmanager
def about(*, application: str = "", applicationset: str = "", cluster: str = "") -> Iterator[None]:
    """Lines within this task, and the tasks that it starts, are about these; what is not named stays as it was."""
    named = {"application": application, "applicationset": applicationset, "cluster": cluster}
    token = _about.set({**_about.get(), **{name: value for name, value in named.items() if value}})
    try:
        yield
    finally:
        _about.reset(token)


def identity_of(record: logging.LogRecord) -> dict[str, str]:
    known = _about.get()
    found = {name: getattr(record, name, "") or known.get(name, "") for name in IDENTITY}
    return {name: str(value) for name, value in found.items() if value}


class JsonLines(logging.Formatter):
    """One JSON object a line, for collectors."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **identity_of(record),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class Text(logging.Formatter):
    """One line for people. What a message holds cannot make it two."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        named = "".join(f" {name}={value}" for name, value in identity_of(record).items())
        line = f"{moment} {record.levelname:<7} {record.name}: {message}{named}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def setup(*, level: str, form: str) -> None:
    """Log to stderr. `form` is one of `FORMATS`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else Text())
    logging.basicConfig(level=level.upper(), handlers=[handler])
