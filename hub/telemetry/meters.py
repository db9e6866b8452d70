"""The instruments of one hub process, in a registry of their own: a process can hold two hubs.

What can be counted from memory is counted when somebody asks (`Source`); here is only what is over once it happened.
Labels are bounded: loops, operations, outcomes and reasons of ours, sinks of the administrator. No label holds what a
user or a spoke wrote, but names of namespaces, sets and clusters.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    Source = Callable[[], Iterable[Metric]]

_LOOP = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RENDER = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
_SEND = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RELEASE = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)


class Meters:
    """`sources` are asked at each scrape, on the event loop: they read memory, and nothing else."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge(
            "axletree_build_info", "1, with the version as a label.", ["version"], registry=registry
        )
        build.labels(_version()).set(1)
        self.leader = Gauge("axletree_leader", "Whether this process leads.", registry=registry)
        self._loops = Histogram(
            "axletree_reconcile_duration_seconds",
            "How long one step of a loop of the controller took.",
            ["loop"],
            buckets=_LOOP,
            registry=registry,
        )
        self._loop_errors = Counter(
            "axletree_reconcile_errors_total",
            "Steps of a loop that failed and are tried again.",
            ["loop"],
            registry=registry,
        )
        self._renders = Histogram(
            "axletree_render_duration_seconds",
            "How long a call to a render worker took, its wait in line included.",
            ["operation"],
            buckets=_RENDER,
            registry=registry,
        )
        self._render_errors = Counter(
            "axletree_render_errors_total",
            "Calls to render workers that failed, by the reason of the error.",
            ["operation", "reason"],
            registry=registry,
        )
        self.releases = Histogram(
            "axletree_release_duration_seconds",
            "From the release of an Application until it was Healthy at it.",
            buckets=_RELEASE,
            registry=registry,
        )
        self.corrections = Counter(
            "axletree_drift_corrections_total",
            "Objects that were changed on a spoke and put back, as agents report them.",
            ["namespace"],
            registry=registry,
        )
        self.notifications = Counter(
            "axletree_notifications_total",
            "Notifications by sink and outcome: sent, retried, dropped.",
            ["sink", "outcome"],
            registry=registry,
        )
        self.sending = Histogram(
            "axletree_notification_duration_seconds",
            "How long a sink took to take a notification, or to fail.",
            ["sink"],
            buckets=_SEND,
            registry=registry,
        )
        self.kube_events = Counter(
            "axletree_kubernetes_events_total",
            "Kubernetes Events by outcome: written, repeated, dropped.",
            ["outcome"],
            registry=registry,
        )
        self.sources: list[Source] = []

    @contextmanager
    def step(self, loop: str) -> Iterator[None]:
        """Time one step of a loop; one that raises is counted as failed, too."""
        began = time.perf_counter()
        try:
            yield
        except Exception:
            self._loop_errors.labels(loop).inc()
            raise
        finally:
            self._loops.labels(loop).observe(time.perf_counter() - began)

    def called(self, operation: str, seconds: float, reason: str) -> None:
        """Note a call to a worker; `reason` is that of its error, empty where it went well."""
        self._renders.labels(operation).observe(seconds)
        if reason:
            self._render_errors.labels(operation, reason).inc()

    def collect(self) -> list[Metric]:
        """All of this moment. What the sources give is new objects, so that another thread may write them out."""
        found = list(self.registry.collect())
        for metric in found:  # when each series began doubles their number, and nobody asks
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
        return [*found, *(metric for source in self.sources for metric in source())]


def _version() -> str:
    try:
        return version("axletree")
    except PackageNotFoundError:
        return "unknown"
