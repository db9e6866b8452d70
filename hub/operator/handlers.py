"""kopf: intake and lifecycle of our kinds. Every handler wakes a key and returns.

Applications do not pass through kopf: they are many and busy, and our own reflector knows when its list is whole.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import kopf

from agent.contract.names import GROUP, VERSION

if TYPE_CHECKING:
    import asyncio

    from agent.kube.config import KubeConfig

PLURALS = ("clusters", "clustersets", "projects", "applicationsets")


class Intake(Protocol):
    """What the controller takes from kopf."""

    def wake(self, plural: str, key: str, resource_version: str) -> None: ...

    def alive(self) -> dict[str, Any]: ...


def registry_for(intake: Intake, config: KubeConfig) -> kopf.OperatorRegistry:
    """All handlers, bound to one controller: no module-level registry, so that a process can hold two hubs."""
    registry = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.AiohttpSession:
        connector = aiohttp.TCPConnector(ssl=config.ssl if config.ssl is not None else True)
        return kopf.AiohttpSession(
            server=config.server,
            aiohttp_session=aiohttp.ClientSession(connector=connector, headers=config.headers),
        )

    kopf.on.login(registry=registry, id="login")(login)

    def subscribe(plural: str) -> None:
        def wake(name: str, namespace: str | None, meta: kopf.Meta, **_: Any) -> None:
            key = f"{namespace}/{name}" if namespace else name
            intake.wake(plural, key, str(meta.get("resourceVersion", "")))

        kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"wake-{plural}")(_async(wake))

    for plural in PLURALS:
        subscribe(plural)

    async def probe(**_: Any) -> dict[str, Any]:
        return intake.alive()

    kopf.on.probe(registry=registry, id="controller")(probe)
    return registry


def _async(function: Any) -> Any:
    """Kopf runs plain functions in threads; ours only set a flag in the loop."""

    async def handler(**kwargs: Any) -> None:
        function(**kwargs)

    return handler


def settings() -> kopf.OperatorSettings:
    """No peering, no posting of events, no scanning: intake only."""
    result = kopf.OperatorSettings()
    result.peering.standalone = True
    result.posting.enabled = False
    result.scanning.disabled = True
    result.watching.reconnect_backoff = 0.5
    result.networking.error_backoffs = [0.5, 1, 2, 5]
    return result


async def run(intake: Intake, config: KubeConfig, *, stop: asyncio.Event) -> None:
    """Run kopf in this event loop until `stop`."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    await kopf.operator(
        registry=registry_for(intake, config),
        settings=settings(),
        standalone=True,
        clusterwide=True,
        stop_flag=stop,
    )
