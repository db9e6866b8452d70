"""Our kinds as commands need them: words that mean them, their path, their columns.

Not `hub.api.registry`, which loads every model: a command that only prints starts in half the time without.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.contract.names import ANNOTATION_PAUSED, API_VERSION, LABEL_SET
from hub.cli.output import age

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.contract.manifest import Manifest

SHORT_ID = 8
_LONGEST = 100
_STANDS = frozenset({"Halted", "AwaitingApproval", "Paused"})
"""States of a rollout that only a person, or a commit, ends."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind. `words` are what people may call it, the plural first."""

    kind: str
    words: tuple[str, ...]
    columns: tuple[str, ...]
    row: Callable[[Manifest], Sequence[str]]
    namespaced: bool = True

    @property
    def title(self) -> str:
        """`ApplicationSet` -> `application set`."""
        return "".join(f" {char.lower()}" if char.isupper() else char for char in self.kind).strip()

    def path(self, namespace: str = "", name: str = "") -> str:
        """The collection (of all namespaces where none is named), or one object."""
        plural = f"{self.kind.lower()}s"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"/apis/{API_VERSION}{scope}/{plural}" + (f"/{name}" if name else "")


def field(obj: Manifest, *path: str) -> Any:
    """A nested field, or an empty string."""
    value: Any = obj
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return ""
    return value


def key_of(obj: Manifest) -> str:
    """`namespace/name`, or the name alone."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def set_of(obj: Manifest) -> str:
    """`namespace/name` of the set that an Application is a child of; empty for none."""
    name = (obj["metadata"].get("labels") or {}).get(LABEL_SET)
    return f"{obj['metadata']['namespace']}/{name}" if name else ""


def health(obj: Manifest) -> str:
    return str(field(obj, "status", "health", "state"))


def sync(obj: Manifest) -> str:
    return str(field(obj, "status", "sync", "state"))


def why(obj: Manifest) -> str:
    """In one line, what keeps an Application or set from being Healthy; empty where nothing says so."""
    held = field(obj, "status", "deletion", "held")
    if held:
        return f"deletion is Held: {held}"
    for blocked in field(obj, "status", "blockedBy") or ():
        said = blocked.get("message") or f"{blocked.get('edge', '')} {blocked.get('on', '')}".strip()
        root = blocked.get("root", "")
        if said in root:
            return str(root)
        return f"{said} (root: {root})" if root and root not in said else str(said)
    stalled = next((c for c in field(obj, "status", "conditions") or () if c["type"] == "Stalled"), None)
    if stalled is not None and stalled["status"] == "True":
        return ": ".join(filter(None, (str(stalled.get("reason", "")), str(stalled.get("message", "")))))
    rollout = field(obj, "status", "rollout", "state")
    if rollout in _STANDS:
        message = field(obj, "status", "rollout", "message")
        return ": ".join(filter(None, (f"rollout {rollout}", str(message))))
    sync_status = field(obj, "status", "sync")
    failed = sync_status.get("message", "") if isinstance(sync_status, dict) else ""
    message = failed if isinstance(failed, str) and failed else field(obj, "status", "health", "message")
    return str(message)


def short(text: str) -> str:
    """One line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _created(obj: Manifest) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def _connection(obj: Manifest) -> str:
    paused = (obj["metadata"].get("annotations") or {}).get(ANNOTATION_PAUSED) == "true"
    return ", ".join(filter(None, (str(field(obj, "status", "connected")), "paused" if paused else "")))


def _heard(obj: Manifest) -> str:
    """`<60s` of who is connected: the Lease that says so is written far more rarely than that."""
    within = field(obj, "status", "heardWithin")
    return f"<{within}" if within else age(field(obj, "status", "lastSeen"))


def _cluster_row(obj: Manifest) -> Sequence[str]:
    accepted = "yes" if field(obj, "spec", "accepted") else "no"
    return (
        obj["metadata"]["name"],
        accepted,
        _connection(obj),
        _heard(obj),
        str(field(obj, "status", "apps")),
        health(obj)
        if isinstance(field(obj, "status", "health"), dict)
        else str(field(obj, "status", "health")),
        str(field(obj, "status", "agent", "version")),
        str(field(obj, "status", "agent", "kubernetesVersion")),
        _created(obj),
    )


def _cluster_set_row(obj: Manifest) -> Sequence[str]:
    spec = obj.get("spec") or {}
    selector = spec.get("selector")
    labels = [f"{key}={value}" for key, value in ((selector or {}).get("matchLabels") or {}).items()]
    labels += [
        f"{each['key']} {each['operator']} {','.join(each.get('values') or ())}".strip()
        for each in (selector or {}).get("matchExpressions") or ()
    ]
    meant = "*" if selector == {} else "; ".join(labels)
    return (
        obj["metadata"]["name"],
        str(field(obj, "status", "count")),
        meant,
        ",".join(spec.get("clusters") or ()),
        str(spec.get("priority", 0)),
        _created(obj),
    )


def _app_row(obj: Manifest) -> Sequence[str]:
    return (
        obj["metadata"]["namespace"],
        obj["metadata"]["name"],
        str(field(obj, "spec", "cluster")),
        sync(obj),
        health(obj),
        str(field(obj, "status", "sync", "plan")),
        str(field(obj, "status", "sync", "revision")).rpartition("@")[2][:SHORT_ID],
        age(field(obj, "status", "health", "observedAt")),
        _created(obj),
        short(why(obj)),
    )


def _set_row(obj: Manifest) -> Sequence[str]:
    return (
        obj["metadata"]["namespace"],
        obj["metadata"]["name"],
        health(obj),
        str(field(obj, "status", "children")),
        str(field(obj, "status", "plan", "id")),
        str(len(field(obj, "status", "plan", "held") or ())),
        _created(obj),
        short(why(obj)),
    )


def _project_row(obj: Manifest) -> Sequence[str]:
    spec = obj.get("spec") or {}
    return (
        obj["metadata"]["namespace"],
        obj["metadata"]["name"],
        "(trusted)" if spec.get("trusted") else str(spec.get("serviceAccount", "")),
        str(len(spec.get("sourceRepos") or ())),
        str(len(spec.get("destinations") or ())),
        _created(obj),
    )


APPS = Resource(
    kind="Application",
    words=("apps", "app", "applications", "application", "axapp"),
    columns=(
        *("NAMESPACE", "NAME", "CLUSTER", "SYNC", "HEALTH", "PLAN", "REVISION", "OBSERVED", "AGE", "MESSAGE"),
    ),
    row=_app_row,
)
SETS = Resource(
    kind="ApplicationSet",
    words=("appsets", "appset", "sets", "set", "applicationsets", "applicationset", "axset"),
    columns=("NAMESPACE", "NAME", "HEALTH", "CHILDREN", "PLAN", "HELD", "AGE", "MESSAGE"),
    row=_set_row,
)
CLUSTERS = Resource(
    kind="Cluster",
    words=("clusters", "cluster", "axcl"),
    columns=(
        *("NAME", "ACCEPTED", "CONNECTED", "LAST SEEN", "APPS", "HEALTH", "AGENT", "KUBERNETES", "AGE"),
    ),
    row=_cluster_row,
    namespaced=False,
)
CLUSTER_SETS = Resource(
    kind="ClusterSet",
    words=("clustersets", "clusterset", "axcs"),
    columns=("NAME", "CLUSTERS", "SELECTOR", "NAMES", "PRIORITY", "AGE"),
    row=_cluster_set_row,
    namespaced=False,
)
PROJECTS = Resource(
    kind="Project",
    words=("projects", "project", "axproj"),
    columns=("NAMESPACE", "NAME", "SERVICE ACCOUNT", "REPOSITORIES", "DESTINATIONS", "AGE"),
    row=_project_row,
)
RESOURCES = (CLUSTERS, CLUSTER_SETS, APPS, SETS, PROJECTS)


def resource_of(word: str) -> Resource | None:
    """What people mean by `apps`, `app`, `applications`...; None for no kind of ours."""
    wanted = word.lower().partition(".")[0]
    return next((each for each in RESOURCES if wanted in each.words), None)


def nearest(word: str, known: Sequence[str] | Mapping[str, str]) -> str:
    """`; did you mean "shop", "stop"?`, or nothing. A map has other spellings of what it gives."""
    close = difflib.get_close_matches(word, list(known), n=3)
    meant = dict.fromkeys(known[each] for each in close) if isinstance(known, Mapping) else close
    return f"; did you mean {', '.join(meant)}?" if close else ""
