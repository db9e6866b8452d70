"""CloudEvents 1.0 over HTTP, in structured mode: https://github.com/cloudevents/spec."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from cloudevents.core.bindings.http import to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from hub.notify.post import post

if TYPE_CHECKING:
    import aiohttp

    from hub.notify.message import Message
    from hub.notify.post import Target

TYPE = "dev.axletree"


class CloudEvents:
    """Posts each message as one event. A receiver that saw its id before may leave it out."""

    def __init__(self, session: aiohttp.ClientSession, target: Target, *, source: str) -> None:
        self._session = session
        self._target = target
        self._source = source

    async def send(self, message: Message) -> None:
        """Raises what `post` raises."""
        made = to_structured(event_of(message, source=self._source), JSONFormat())
        headers = dict(made.headers)
        if self._target.token:
            headers["Authorization"] = f"Bearer {self._target.token}"
        body = made.body if isinstance(made.body, bytes) else str(made.body).encode()
        await post(self._session, self._target.url, body=body, headers=headers, ca=self._target.ca)


def event_of(message: Message, *, source: str) -> CloudEvent:
    attributes: dict[str, Any] = {
        "id": message.id,
        "source": source,
        "type": f"{TYPE}.{message.kind.lower()}.{message.trigger.lower()}.v1",
        "subject": f"{message.namespace}/{message.name}".lstrip("/"),
        "time": datetime.fromisoformat(message.at),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes, message.fields())
