"""What libraries load as they are imported, and no agent asks of them: 5 MB, and a fifth of a second.

Imports no more than it needs to keep that out. Afterwards everything is as it was: who does need it, gets it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_REQUEST = "urllib.request"


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Import aiohttp and pydantic in here.

    aiohttp reads the environment's proxies where a session is told to, which none here is, and cookies that were kept
    as pickles, which it cannot then.
    """
    with (
        _no_system_trust(),
        _in_place_of("email.policy", HTTP=_MailPolicy()),
        _in_place_of(_REQUEST, **{name: _later(_REQUEST, name) for name in ("getproxies", "proxy_bypass")}),
        _in_place_of("pickle", _Unpickler=object, UnpicklingError=ValueError),
        _in_place_of("importlib.metadata", entry_points=_no_plugins),
    ):
        yield


@contextlib.contextmanager
def _no_system_trust() -> Iterator[None]:
    """Without the system's CAs, which aiohttp loads at once and which nothing here trusts.

    That is 2 MB and a tenth of a second. A kubeconfig that relies on them still gets them.
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _MailPolicy:
    """In place of `email.policy.HTTP`, which it is as soon as anybody asks it anything.

    That is half a megabyte of grammar of mail headers: for a `Content-Type`, which nobody here reads.
    """

    def __getattr__(self, name: str) -> Any:
        from email.policy import HTTP  # noqa: PLC0415 - the point

        return getattr(HTTP, name)


def _later(module: str, name: str) -> Callable[..., Any]:
    """A function that loads its module when it is called."""

    def call(*args: Any, **named: Any) -> Any:
        return getattr(import_module(module), name)(*args, **named)

    return call


def _no_plugins(**_: str) -> tuple[()]:
    """What is installed, as pydantic asks for it: its plugins, which no agent has.

    The module is a megabyte: it reads archives, and then the metadata of all that is installed.
    """
    return ()


@contextlib.contextmanager
def _in_place_of(name: str, **values: object) -> Iterator[None]:
    """Let a module of these few values stand in, where the module itself has not been loaded anyway."""
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    vars(stand_in).update(values)
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]
