"""What a hub process is told at start."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Role(StrEnum):
    """What a process of the hub does. Every one answers agents; a gateway never leads."""

    ALL = "all"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`data_dir` holds caches only (Git mirrors, bundles): it can be lost and is made again."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    public_hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    """What the gateway's certificate is valid for; the first is how the API server reaches admission here."""
    role: Role = Role.ALL
    gateway: str = "axletree-gateway"
    """Who keeps the agents' Leases: unique among processes that run at once, the same after a restart."""
    api_port: int | None = None
    """Where programs ask, beside `port`; None: nowhere. 0 takes a free one."""
    metrics_port: int | None = None
    """Where Prometheus asks for `/metrics`, over plain HTTP; None: nowhere. 0 takes a free one."""
    otlp_endpoint: str = ""
    """An OpenTelemetry collector that traces go to, by OTLP over HTTP; empty: nowhere. Needs the extra `otel`."""
    kube_events: bool = True
    """Whether the leader writes Kubernetes Events on our objects."""
    database: str = ""
    """URL of the history's database: `postgresql://...`; empty for SQLite in `data_dir`."""
    bundles: str = ""
    """URL of the place where bundles are shared: `postgresql://`, `s3://bucket/prefix`; empty for `data_dir`."""
    poll_interval: float = 180.0
    """Seconds between fetches of a repository that nobody asked to refresh."""
    full_pass: float = 300.0
    """Seconds between passes over everything: a lost event costs at most this."""
    settle: float = 2.0
    """Seconds before a Cluster's counts are written: what has failed there, and the end of what moved."""
    stale_after: float = 60.0
    workers: int = 1
    worker_memory_mb: int = 512
    write_concurrency: int = 32
    lease_seconds: float = 15.0
    identity: str = field(default="axletree-hub")
    """Who holds the Lease; unique a process."""

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data_dir}/history.sqlite"
