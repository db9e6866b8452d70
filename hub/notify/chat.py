"""Chat, mail and paging through Apprise, which knows a hundred services by their addresses.

It is no asynchronous library, and loads much: it is imported when a sink asks for it, and sends in a thread of its own
that nothing waits for when the hub ends. While one sending hangs the next is not begun.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from hub.api.notification import Trigger
from hub.notify.errors import SinkAway, SinkInvalid, SinkRefused

if TYPE_CHECKING:
    from hub.notify.message import Message

_TIMEOUT = 20.0
_LEVELS = {
    Trigger.DEGRADED: "failure",
    Trigger.DRIFTED: "warning",
    Trigger.HELD: "warning",
    Trigger.APPROVAL: "warning",
    Trigger.DEPLOYED: "success",
    Trigger.RECOVERED: "success",
}


class Chat:
    """`addresses` are Apprise's, one a line; they hold credentials, and are never shown."""

    def __init__(self, addresses: str) -> None:
        self._addresses = [line.strip() for line in addresses.splitlines() if line.strip()]
        self._service: Any = None
        self._busy: threading.Thread | None = None

    async def send(self, message: Message) -> None:
        """Raises `SinkAway` where any address did not take it, `SinkInvalid` where one does not read."""
        if self._busy is not None and self._busy.is_alive():
            raise SinkAway("the last message is still being sent")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def work() -> None:
            try:
                answer: bool | Exception = self._notify(message)
            except Exception as error:  # noqa: BLE001 - a thread's boundary: told to whoever waits
                answer = error
            try:
                loop.call_soon_threadsafe(_settle, done, answer)
            except RuntimeError:  # the loop ended meanwhile: nobody waits
                return

        self._busy = threading.Thread(target=work, name="apprise", daemon=True)
        self._busy.start()
        try:
            taken = await asyncio.wait_for(done, _TIMEOUT)
        except TimeoutError as error:
            raise SinkAway(f"it takes longer than {_TIMEOUT:g} s") from error
        except (SinkInvalid, SinkAway):
            raise
        except Exception as error:
            raise SinkRefused(f"it cannot be sent: {type(error).__name__}") from error
        if not taken:
            raise SinkAway("not every address took it")

    def _notify(self, message: Message) -> bool:
        if self._service is None:
            self._service = _service(self._addresses)
        taken = self._service.notify(
            title=message.title,
            body=message.text or message.title,
            notify_type=_LEVELS.get(message.trigger, "info"),
            body_format="text",
            interpret_escapes=False,
        )
        return bool(taken)


def _service(addresses: list[str]) -> Any:
    import apprise  # noqa: PLC0415 - 20 MB, for hubs that use it

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its words quote addresses
    asset = apprise.AppriseAsset(app_id="Axletree", app_desc="Axletree", app_url="", async_mode=False)
    service = apprise.Apprise(asset=asset)
    for address in addresses:
        if not service.add(address):
            raise SinkInvalid("an address of it is none that Apprise reads")
    if not addresses:
        raise SinkInvalid("it has no urls")
    return service


def _settle(future: asyncio.Future[bool], answer: bool | Exception) -> None:  # noqa: FBT001 - a callback
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
