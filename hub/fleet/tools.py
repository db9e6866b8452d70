"""`helm` and `kustomize`, built from their Go modules once and kept beside the control planes.

Tests need both, for they compare with them; a hub needs neither where `kubectl` is there. `python -m
hub.fleet.tools` builds them; nothing else does.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hub.fleet.build import Progress, Report, cache_root, print_progress
from hub.fleet.command import run
from hub.fleet.errors import BuildError
from hub.fleet.golang import ensure_toolchain
from hub.fleet.lock import locked
from hub.render.programs import Programs

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.fleet.golang import Toolchain

SOURCE = Path(__file__).parent / "toolset"
HELM, KUSTOMIZE, KUBECTL = "helm", "kustomize", "kubectl"
_SECONDS = 1800
_TICK = 1.0


def built() -> Path:
    """The folder of the programs, whether or not they are built yet."""
    digest = hashlib.sha256(platform.machine().encode())
    for name in ("go.mod", "go.sum"):
        digest.update((SOURCE / name).read_bytes())
    return cache_root() / "tools" / digest.hexdigest()[:16]


def find_programs() -> Programs:
    """What there is to render with: $AXLETREE_KUSTOMIZE, what was built here, then what is on PATH.

    `helm` is used only where $AXLETREE_HELM names it: the SDK gives the same, a hundred times faster.
    """
    helm = os.environ.get("AXLETREE_HELM", "")
    if helm == HELM:
        helm = _program(HELM)
    return Programs(kustomize=_kustomize(), helm=helm)


async def ensure_tools(progress: Report = print_progress) -> Path:
    """The folder with `helm` and `kustomize`, built if need be, which takes minutes. Raises `BuildError`."""
    target = built()
    if target.exists():
        return target
    started = time.monotonic()

    def tell(stage: str, *, finished: bool = False) -> None:
        progress(Progress(stage, 0, 0, time.monotonic() - started, finished=finished))

    async with locked(
        target.with_suffix(".lock"), waiting=lambda: tell("waiting for another build of tools")
    ):
        if not target.exists():
            toolchain = await ensure_toolchain(cache_root() / "go", progress=tell)
            ticking = asyncio.create_task(_tick(tell))
            try:
                await _build(toolchain, target)
            finally:
                ticking.cancel()
            tell("built helm and kustomize", finished=True)
    return target


async def _tick(tell: Callable[[str], None]) -> None:
    while True:
        tell("building helm and kustomize (once, minutes)")
        await asyncio.sleep(_TICK)


async def _build(toolchain: Toolchain, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    settings = {
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
    }
    environment = [f"{name}={value}" for name, value in settings.items()]
    code, output = await run(
        *("/usr/bin/env", "-C", str(SOURCE), *environment, str(toolchain.go)),
        *("build", "-trimpath", "-ldflags", "-s -w", "-o", f"{fresh}/", "tool"),
        seconds=_SECONDS,
    )
    if code != 0:
        raise BuildError(
            f"`go build` failed with {code} in {SOURCE}:\n{output}\n"
            "Next: the modules come from the Go module proxy, so check the network and `go env GOPROXY`, and\n"
            "run the same command again: what is built already is kept."
        )
    fresh.rename(target)


def _kustomize() -> tuple[str, ...]:
    """`kustomize build`, else `kubectl kustomize`, also the kubectl that was built with the control planes."""
    if own := os.environ.get("AXLETREE_KUSTOMIZE"):
        return own, "build"
    if found := _program(KUSTOMIZE):
        return found, "build"
    beside = sorted(
        (cache_root() / "controlplane").glob(f"*/{KUBECTL}"), key=lambda path: path.stat().st_mtime
    )
    kubectl = str(beside[-1]) if beside else shutil.which(KUBECTL)
    return (kubectl, "kustomize") if kubectl else ()


def _program(name: str) -> str:
    path = built() / name
    return str(path) if path.exists() else shutil.which(name) or ""


def main() -> None:
    sys.stdout.write(f"{asyncio.run(ensure_tools())}\n")


if __name__ == "__main__":
    main()
