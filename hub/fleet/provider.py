"""Which way a local fleet is made, and what every way offers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, assert_never

from hub.fleet.errors import ToolMissingError, UnsupportedPlatformError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Provider(StrEnum):
    """What a person may ask for."""

    AUTO = "auto"
    PROCESSES = "processes"
    KIND = "kind"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this machine has: `docker` means that its daemon answers, `kind` that the program is on PATH."""

    linux: bool
    docker: bool
    kind: bool


@dataclass(frozen=True, slots=True)
class ClusterHandle:
    """A running cluster of a fleet. `workloads`: whether pods run there (or KWOK says so)."""

    name: str
    kubeconfig_path: Path
    url: str
    workloads: bool


class Fleet(Protocol):
    """Clusters that are started and ended together."""

    async def start(self, *, note: Callable[[str], None] = ...) -> list[ClusterHandle]:
        """Start what does not run yet and return every cluster, the hub first; `note` hears of each step."""
        ...

    async def add(self, name: str) -> ClusterHandle:
        """Start one cluster more."""
        ...

    async def remove(self, name: str) -> None:
        """End one cluster and delete what it was."""
        ...

    async def stop_all(self) -> None:
        """End everything that this fleet ever started, after a crash too."""
        ...

    async def delete(self) -> None:
        """`stop_all`, and remove all data."""
        ...


def choose(wanted: Provider, there: Surroundings) -> Provider:
    """Decide between `processes` and `kind`.

    `auto` takes kind where Docker answers and kind is installed, since containers really run there, and
    processes otherwise. Raises with what to do where the choice cannot work.
    """
    match wanted:
        case Provider.AUTO:
            usable = there.docker and there.kind
            return choose(Provider.KIND if usable else Provider.PROCESSES, there)
        case Provider.PROCESSES:
            if not there.linux:
                raise UnsupportedPlatformError(
                    "control planes as processes need Linux: install Docker and kind "
                    "(https://kind.sigs.k8s.io), and use `--provider kind`"
                )
            return wanted
        case Provider.KIND:
            if not there.kind:
                raise ToolMissingError(
                    "`kind` is not on PATH: install it (https://kind.sigs.k8s.io), "
                    "or use `--provider processes`"
                )
            if not there.docker:
                raise ToolMissingError(
                    "Docker does not answer: start it (`docker info` says why), or use `--provider processes`"
                )
            return wanted
        case _:
            assert_never(wanted)
