"""Sinks as an administrator declares them: Secrets in the hub's own namespace, read from the cache that is there.

Whoever may write Secrets there already holds the hub. A Project names a sink, and sees neither address nor token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agent.contract.names import HUB_NAMESPACE
from hub.api.notification import Trigger
from hub.core.sinks import allows, is_sink, projects_of, text_of
from hub.notify.chat import Chat
from hub.notify.cloudevent import CloudEvents
from hub.notify.commits import CommitStatuses
from hub.notify.errors import SinkInvalid
from hub.notify.post import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from agent.contract.manifest import Manifest
    from hub.notify.message import Message

HOSTS = ("github", "gitlab", "gitea")
TYPES = ("cloudevents", "apprise", *HOSTS)
_OF_PEOPLE = frozenset(
    {
        *(Trigger.DEGRADED, Trigger.DRIFTED, Trigger.HELD),
        *(Trigger.APPROVAL, Trigger.STALE, Trigger.RECOVERED),
    }
)
_OF_COMMITS = frozenset({Trigger.PROGRESSING, Trigger.DEPLOYED, Trigger.DEGRADED, Trigger.RECOVERED})


class Sender(Protocol):
    async def send(self, message: Message) -> None:
        """Raises `SinkAway`, `SinkRefused` or `SinkInvalid`."""
        ...


@dataclass(frozen=True, slots=True)
class Sink:
    """One Secret, read."""

    name: str
    type: str
    version: str
    projects: tuple[str, ...]
    """Namespaces that may use it, as globs; all where there is none."""
    data: dict[str, str] = field(repr=False)

    @property
    def defaults(self) -> frozenset[Trigger]:
        """Of what it is told where a rule does not say."""
        return _OF_COMMITS if self.type in HOSTS else _OF_PEOPLE

    def allows(self, namespace: str) -> bool:
        return allows(self.projects, namespace)


class Sinks:
    """`secret` gives the cached Secret of a key."""

    def __init__(
        self, secret: Callable[[str], Manifest | None], session: aiohttp.ClientSession, *, source: str
    ) -> None:
        self._secret = secret
        self._session = session
        self._source = source
        self._read: dict[str, Sink] = {}
        self._senders: dict[str, tuple[str, Sender]] = {}

    def get(self, name: str) -> Sink | None:
        """The sink, or None where there is none of that name."""
        obj = self._secret(f"{HUB_NAMESPACE}/{name}")
        if obj is None or not is_sink(obj):
            self._read.pop(name, None)
            return None
        version = str(obj["metadata"].get("resourceVersion", ""))
        known = self._read.get(name)
        if known is None or known.version != version:
            known = self._read[name] = sink_of(obj)
        return known

    def sender(self, name: str) -> Sender:
        """Who sends for it as its Secret is now. Raises `SinkInvalid`."""
        sink = self.get(name)
        if sink is None:
            raise SinkInvalid(f"there is no sink {name}")
        known = self._senders.get(name)
        if known is None or known[0] != sink.version:
            known = self._senders[name] = (sink.version, self._make(sink))
        return known[1]

    def _make(self, sink: Sink) -> Sender:
        data = sink.data
        if sink.type == "apprise":
            return Chat(data.get("urls") or data.get("url") or "")
        if sink.type not in TYPES:
            raise SinkInvalid(f"its type is none of {', '.join(TYPES)}")
        default = "https://api.github.com" if sink.type == "github" else ""
        url = data.get("url", "").strip() or default
        target = Target.parse(url, token=data.get("token", "").strip(), ca=data.get("ca", ""))
        if sink.type == "cloudevents":
            return CloudEvents(self._session, target, source=self._source)
        if not target.token:
            raise SinkInvalid("it has no token")
        context = data.get("context", "").strip() or "axletree"
        return CommitStatuses(
            self._session, target, dialect=sink.type, context=context, host=data.get("host", "").strip()
        )


def sink_of(obj: Manifest) -> Sink:
    data = {key: text for key in obj.get("data") or {} if (text := text_of(obj, key))}
    return Sink(
        name=obj["metadata"]["name"],
        type=data.get("type", "").strip().lower(),
        version=str(obj["metadata"].get("resourceVersion", "")),
        projects=projects_of(obj),
        data=data,
    )
