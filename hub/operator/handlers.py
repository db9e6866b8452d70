"""kopf: intake and lifecycle of our kinds. Every handler wakes a key and returns.

Applications and Clusters do not pass through kopf: they are many and busy, our own reflector knows when its list is
whole, and a fleet that kopf takes up is seconds of CPU in its thread, in which the hub lets in hardly any agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import kopf

from agent.contract.errors import TransientError
from agent.contract.names import GROUP, VERSION

if TYPE_CHECKING:
    from agent.kube.config import KubeConfig

PLURALS = ("clustersets", "projects", "applicationsets")


class IntakeEnded(TransientError):
    """Kopf stopped, with or without saying why; the hub is to start anew."""

    reason = "IntakeEnded"


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


async def run(intake: Intake, config: KubeConfig) -> None:
    """Run kopf beside this event loop until cancelled. Raises what kopf ended with, or `IntakeEnded`.

    In a thread with a loop of its own: kopf takes every task of its loop for its own, waits for them all when it
    ends, and then cancels them. What its handlers wake is woken in the caller's loop.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    stop = threading.Event()

    def finish(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def serve() -> None:
        error: BaseException | None = None
        try:
            asyncio.run(_operator(_Across(intake, loop), config, stop))
        except BaseException as raised:  # noqa: BLE001 - a thread's boundary: handed to the loop that waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=serve, name="kopf", daemon=True).start()
    try:
        await ended
        raise IntakeEnded("kopf ended by itself: nothing would be heard any more")
    finally:
        stop.set()


async def _operator(intake: Intake, config: KubeConfig, stop: threading.Event) -> None:
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        await kopf.operator(
            registry=registry_for(intake, config),
            settings=settings(),
            standalone=True,
            clusterwide=True,
            stop_flag=stop,
        )
    finally:
        stop.set()  # a thread of this loop waits for it: unset, the loop would never end, nor its failure be seen


class _Across:
    """The controller's intake, called from kopf's thread."""

    def __init__(self, intake: Intake, loop: asyncio.AbstractEventLoop) -> None:
        self._intake = intake
        self._loop = loop

    def wake(self, plural: str, key: str, resource_version: str) -> None:
        with contextlib.suppress(RuntimeError):  # the hub is stopping
            self._loop.call_soon_threadsafe(self._intake.wake, plural, key, resource_version)

    def alive(self) -> dict[str, Any]:
        return self._intake.alive()
