"""Wrong usage, told as every other failure is: in one line, with where to read on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.exceptions import TyperException

_NOISE = "Value error, "
"""What a validator's library writes before its own words."""


def is_help(error: TyperException) -> bool:
    """Whether nothing was said at all, which has been answered with the help."""
    return not error.format_message()


def told(error: TyperException) -> str:
    """``no such option: --frob (see `axle get --help`)``."""
    message = " ".join(error.format_message().replace(_NOISE, "").split()).rstrip(".")
    message = message[:1].lower() + message[1:]
    path = getattr(getattr(error, "ctx", None), "command_path", "")
    return f"{message} (see `{path} --help`)" if path else message
