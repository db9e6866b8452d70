"""The way out that the hub's environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, in either case of letters.

curl, on which Git stands, reads `http_proxy` in small letters alone and sends loopback addresses through a proxy as
well; charts and registries are asked as `agent.kube.proxy.environment_proxy` says. Here Git is told what makes both
mean the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("http_proxy", "https_proxy")
_NOT_FOR = "no_proxy"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def git_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What is laid over the environment for Git; nothing where no proxy is named."""
    found = {name: value for name in _NAMES if (value := _value(environment, name))}
    if not found:
        return {}
    direct = _value(environment, _NOT_FOR)
    if direct.strip() != "*":
        direct = ",".join([*filter(None, [direct]), *_LOOPBACK])
    return {**found, _NOT_FOR: direct}


def _value(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""
