"""`plugin`: a service that answers parameter sets over HTTP, by the protocol of Argo CD's plugin generator.

A ConfigMap has `baseUrl`, `token` (`$secret:key`) and, if one likes, `requestTimeout` in seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.hosts.errors import HostMisconfigured, HostUnreachable
from hub.hosts.objects import token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.core.params import Params
    from hub.hosts.client import HostClient
    from hub.hosts.objects import Objects

PATH = "api/v1/getparams.execute"
MAX_TIMEOUT = 120.0
_DEFAULT_TIMEOUT = 30.0


async def settings(objects: Objects, namespace: str, name: str) -> tuple[str, Mapping[str, str], float]:
    """The address, the headers and the time limit. Raises `HostMisconfigured`."""
    config = await config_data(objects, namespace, name)
    address, reference = config.get("baseUrl", ""), config.get("token", "")
    secret, colon, key = reference.removeprefix("$").partition(":")
    if not address or not reference.startswith("$") or not colon:
        raise HostMisconfigured(f"ConfigMap {namespace}/{name} needs baseUrl, and token as $secret:key")
    text = await token(objects, namespace, {"secretName": secret, "key": key})
    try:
        timeout = float(config.get("requestTimeout") or _DEFAULT_TIMEOUT)
    except ValueError:
        raise HostMisconfigured(f"ConfigMap {namespace}/{name}: requestTimeout is no number") from None
    return address, {"Authorization": f"Bearer {text}"}, min(max(timeout, 1.0), MAX_TIMEOUT)


async def config_data(objects: Objects, namespace: str, name: str) -> dict[str, str]:
    found = await objects.config_map(namespace, name)
    if found is None:
        raise HostMisconfigured(f"there is no ConfigMap {namespace}/{name}")
    return {str(key): str(value) for key, value in (found.get("data") or {}).items()}


async def ask(client: HostClient, parameters: Mapping[str, Any], *, set_name: str) -> list[Params]:
    """What the plugin answers. Raises `HostUnreachable` for an answer that is not of the protocol."""
    body = {"applicationSetName": set_name, "input": {"parameters": parameters}}
    answer = (await client.post(PATH, body)).value
    rows = ((answer.get("output") or {}) if isinstance(answer, dict) else {}).get("parameters")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HostUnreachable("the plugin's answer has no list of maps at output.parameters")
    return rows
