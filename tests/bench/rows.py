"""What is measured, what is to be reached, and what others need for the same work."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.marks import Phase


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `id` is what `--only` matches, beside the name."""

    id: str
    name: str
    unit: str
    target: float
    peer: str
    more: bool = False
    """Whether a larger value is the better one."""


@dataclass(slots=True)
class Sample:
    """One run of one row."""

    value: float
    phases: list[Phase] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of CPU by part, while it ran; `others` is what was not ours."""
    window: float = 0.0
    """Seconds in which that CPU was used: a little longer than the value."""
    requests: dict[str, int] = field(default_factory=dict)
    """What the API servers answered meanwhile."""
    load: float = 0.0
    note: str = ""
    failure: str = ""
    """Why the whole run fails: a missed target is none, a small event that costs more in a larger fleet is."""


@dataclass(slots=True)
class Result:
    row: Row
    samples: list[Sample]

    @property
    def value(self) -> float:
        return statistics.median(sample.value for sample in self.samples)

    @property
    def met(self) -> bool:
        return self.value >= self.row.target if self.row.more else self.value <= self.row.target

    @property
    def typical(self) -> Sample:
        """The sample that is nearest to the median: its phases are shown."""
        return min(self.samples, key=lambda sample: abs(sample.value - self.value))


W50_EXIST = Row("w50-exist", "W50: ApplicationSet applied -> 50 children exist", "s", 0.5, "Argo CD 0.7 s")
W50_HEALTHY = Row(
    "w50-healthy",
    "W50: ApplicationSet applied -> 50 children Synced and Healthy at the parent",
    "s",
    1.5,
    "Argo CD 28.9 s",
)
W50_CHANGE = Row(
    "w50-change", "W50: commit -> all 50 at the new revision, reported", "s", 1.5, "Argo CD 36.0 s"
)
W50_CPU = Row("w50-cpu", "W50: CPU for that change, hub side", "s", 1.5, "Argo CD 50 s")
W50_MEMORY = Row("w50-memory", "W50: hub processes' memory with 50 clusters", "MB", 250, "Argo CD 4.9 GB")
W30_MADE = Row(
    "w30-made", "W30: 30 children made -> Healthy at the parent", "s", 0.8, "Fleet 4.0 s, OCM 1.0 s"
)
W30_ALL = Row("w30-all", "W30: all 30 changed -> reported", "s", 0.7, "Fleet 5.6 s, OCM 0.95 s")
W30_ONE = Row(
    "w30-one", "W30: one app changed on 3 clusters -> reported", "s", 0.1, "Fleet 0.44 s, OCM 0.11 s"
)
DRIFT = Row(
    "drift",
    "a spoke's object edited -> corrected",
    "s",
    0.2,
    "Argo CD 0.5-2.4 s, Fleet 5.05 s, OCM 170-290 s",
)
RESTART = Row(
    "restart",
    "agent restarted while the hub is away -> drift corrected",
    "s",
    2.0,
    "Fleet, OCM: not until the hub is back",
)
IDLE = Row("idle", "one agent process with 10 apps, idle", "MB", 60, "Fleet 85 MB, OCM 89 MB")
CHAIN = Row("chain", "a chain of 5 dependent apps, first release -> last Healthy", "s", 1.5, "Fleet 60.5 s")
AGENT_START = Row("agent-start", "an agent's process starts -> its first useful request", "s", 1.0, "")
AGENT_APPLY = Row(
    "agent-apply",
    "500 objects, first apply: share of what a bare loop of the requests reaches",
    "%",
    80,
    "",
    more=True,
)
AGENT_PEAK = Row("agent-peak", "its memory's peak while it applies 500 objects", "MB", 110, "")
AGENT_MEMORY = Row("agent-memory", "its memory at rest with 10 apps of 500 objects", "MB", 75, "")
AGENT_CPU = Row("agent-cpu", "its CPU at rest with 500 objects", "%", 0.5, "")
AGENT_EDIT = Row("agent-edit", "object edited -> corrected, median of 200", "ms", 50, "")
AGENT_EDIT_99 = Row("agent-edit-99", "the same, the 99th of 100", "ms", 300, "")
AGENT_BREAK = Row("agent-break", "workload breaks -> shown at the hub", "ms", 500, "")
AGENT_RESYNC = Row(
    "agent-resync", "agent restarted -> 500 unchanged objects known, none written", "s", 2.0, ""
)
AGENT_CEL = Row("agent-cel", "more memory with CEL rules in use", "MB", 25, "")
RECONNECT = Row("reconnect", "5,000 agents after a hub restart: all served again", "s", 30.0, "")
RECONNECT_MEMORY = Row("reconnect-memory", "the hub's memory after that, against before", "%", 10.0, "")
RENDER_HELM = Row(
    "render-helm",
    "one chart of 12 objects x 1,000 clusters, one worker: each",
    "ms",
    3.0,
    "the helm binary 130 ms",
)
RENDER_SAME = Row("render-same", "the same, unchanged: each, no render at all", "us", 20.0, "")
RENDER_KUSTOMIZE = Row(
    "render-kustomize", "1,000 kustomize overlays of one base, 4 at once: each", "ms", 30.0, ""
)
RENDER_MEMORY = Row(
    "render-memory",
    "10,000 children rendered, each other values: the hub's memory besides workers",
    "MB",
    300.0,
    "",
)
RENDER_ONE = Row("render-one", "a commit that touches 1 of 1,000 paths: renderings", "", 1.0, "")
RENDER_BUNDLE = Row(
    "render-bundle", "bundle of 5,000 objects (5 MB): canonical form, digest, compression", "ms", 150.0, ""
)
GIT_FIRST = Row(
    "git-first", "a repository of 10,000 files and 1 GB: from nothing to the first folder", "s", 30.0, ""
)
GIT_MOVED = Row("git-moved", "the same: what was fetched for that", "MB", 100.0, "")
GIT_COMMIT = Row("git-commit", "the same: fetch of one commit, and its folder read", "ms", 300.0, "")
ENGINE_EXPAND = Row("engine-expand", "10,000 children on 1,000 clusters: expansion from cold", "s", 4.0, "")
ENGINE_GRAPH = Row("engine-graph", "the same: the graph, every edge, the order", "s", 1.0, "")
ENGINE_PLAN = Row("engine-plan", "the same: everything from cold to the last decision", "s", 5.0, "")
ENGINE_LABEL = Row(
    "engine-label", "one cluster's label changes: graph, waves, gates, statuses", "ms", 50.0, ""
)
ENGINE_RELABEL = Row("engine-relabel", "the same with the plan pass that it asks for", "ms", 50.0, "")
ENGINE_REPORT = Row("engine-report", "one report, and all that follows from it", "ms", 2.0, "")
ENGINE_RELEASE = Row("engine-release", "one release decision", "ms", 1.0, "")
ENGINE_MEMORY = Row("engine-memory", "the core's state, a child", "KB", 5.0, "")

API_LIST = Row(
    "api-list",
    "the API: a page of 100 of 100,000 applications, by a filter (the slowest filter)",
    "ms",
    30,
    "",
)
API_FACETS = Row("api-facets", "the API: counts of those by value, by a filter (the slowest)", "ms", 30, "")
API_HEALTH = Row("api-health", "a health change on a spoke -> a client of the event stream", "ms", 200, "")
API_STREAMS = Row(
    "api-streams", "1,000 clients of one stream: a change -> the last of them has it", "ms", 1000, ""
)
API_WAIT = Row("api-wait", "1,000 orchestrators that wait for a commit: the hub's CPU", "%", 1.0, "")

ROWS = (
    W50_EXIST,
    W50_HEALTHY,
    W50_CHANGE,
    W50_CPU,
    W50_MEMORY,
    W30_MADE,
    W30_ALL,
    W30_ONE,
    DRIFT,
    RESTART,
    IDLE,
    CHAIN,
    AGENT_START,
    AGENT_APPLY,
    AGENT_PEAK,
    AGENT_MEMORY,
    AGENT_CPU,
    AGENT_EDIT,
    AGENT_EDIT_99,
    AGENT_BREAK,
    AGENT_RESYNC,
    AGENT_CEL,
    RECONNECT,
    RECONNECT_MEMORY,
    RENDER_HELM,
    RENDER_SAME,
    RENDER_KUSTOMIZE,
    RENDER_ONE,
    RENDER_MEMORY,
    RENDER_BUNDLE,
    GIT_FIRST,
    GIT_MOVED,
    GIT_COMMIT,
    ENGINE_EXPAND,
    ENGINE_GRAPH,
    ENGINE_PLAN,
    ENGINE_LABEL,
    ENGINE_RELABEL,
    ENGINE_REPORT,
    ENGINE_RELEASE,
    ENGINE_MEMORY,
    API_LIST,
    API_FACETS,
    API_HEALTH,
    API_STREAMS,
    API_WAIT,
)
