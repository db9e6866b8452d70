"""One message, and its default words. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hub.operator import views

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.api.notification import Trigger
    from hub.notify.standing import Standing
    from hub.notify.topics import Step

MAX_TITLE = 200
MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Message:
    """What a sink is given. What a spoke said is in `message` alone: text, never markup and never a template."""

    id: str
    """The same whenever this is told again: whoever takes it may know it by that."""
    trigger: Trigger
    topic: str
    kind: str
    namespace: str
    name: str
    cluster: str
    set: str
    health: str
    sync: str
    reason: str
    message: str
    since: str
    at: str
    commits: tuple[tuple[str, str], ...]
    title: str = ""
    text: str = ""

    def fields(self) -> dict[str, Any]:
        """As data, for templates and programs."""
        found = asdict(self) | {"trigger": self.trigger.value}
        found["commits"] = [{"repository": where, "commit": commit} for where, commit in self.commits]
        return found


def message_of(obj: Manifest, standing: Standing, step: Step, *, trigger: Trigger, at: str) -> Message:
    metadata = obj["metadata"]
    namespace = str(metadata.get("namespace") or "")
    child = obj["kind"] == "Application"
    key = "/".join((metadata.get("uid", ""), step.topic, step.word, trigger, standing.since))
    cluster = str((obj.get("spec") or {}).get("cluster") or "") if child else ""
    where = f" on {cluster}" if cluster else ""
    what = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
    text = (step.message or standing.message)[:MAX_TEXT]
    return Message(
        id=hashlib.sha256(key.encode()).hexdigest()[:32],
        trigger=trigger,
        topic=step.topic.value,
        kind=obj["kind"],
        namespace=namespace,
        name=metadata["name"],
        cluster=metadata["name"] if obj["kind"] == "Cluster" else cluster,
        set=(views.owner_of(obj) or "").partition("/")[2] if child else "",
        health=standing.health,
        sync=standing.sync,
        reason=standing.reason,
        message=text,
        since=standing.since,
        at=at,
        commits=standing.commits,
        title=f"{trigger}: {obj['kind']} {what}{where}"[:MAX_TITLE],
        text=text,
    )
