from __future__ import annotations

import asyncio
import io
import re
from typing import TYPE_CHECKING

import pytest

from hub.fleet import build, golang
from hub.fleet.errors import BuildError
from hub.fleet.lock import locked

if TYPE_CHECKING:
    from pathlib import Path

GO_MOD = (build.SOURCE / "go.mod").read_text()


def test_the_key_changes_with_all_that_decides_the_result() -> None:
    files = {"go.mod": b"a", "go.sum": b"b"}
    key = build.content_key(files, go_version="go1.26.8", machine="x86_64")
    assert key == build.content_key(dict(reversed(files.items())), go_version="go1.26.8", machine="x86_64")
    others = {
        build.content_key({"go.mod": b"c", "go.sum": b"b"}, go_version="go1.26.8", machine="x86_64"),
        build.content_key({"go.mod": b"ab", "go.sum": b""}, go_version="go1.26.8", machine="x86_64"),
        build.content_key(files, go_version="go1.27", machine="x86_64"),
        build.content_key(files, go_version="go1.26.8", machine="aarch64"),
    }
    assert len(others | {key}) == 5


def test_the_cache_is_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AXLETREE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build.cache_root() == tmp_path / ".cache" / "axletree"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert build.cache_root() == tmp_path / "xdg" / "axletree"
    monkeypatch.setenv("AXLETREE_CACHE", str(tmp_path / "own"))
    assert build.cache_root() == tmp_path / "own"


def test_the_reported_version_is_the_one_that_is_built() -> None:
    assert f"k8s.io/kubernetes {build.KUBERNETES_VERSION} " in GO_MOD
    staging = build.KUBERNETES_VERSION.replace("v1.", "v0.")
    replaced = re.findall(r"^\t(\S+) => (\S+) (\S+)$", GO_MOD, re.MULTILINE)
    assert len(replaced) == 33
    assert all(old == new and version == staging for old, new, version in replaced)


def test_the_pinned_go_is_as_new_as_the_modules_ask() -> None:
    pinned = tuple(int(part) for part in golang._pinned().split("."))
    assert pinned >= golang.required_version(GO_MOD)
    assert golang.REQUIREMENTS.read_text().count("--hash=sha256:") >= 2


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("go version go1.26.8 linux/amd64", ("go1.26.8", (1, 26, 8))),
        ("go version go1.19 linux/amd64\n", ("go1.19", (1, 19))),
        ("go version go1.27rc1 linux/arm64", ("go1.27rc1", (1, 27))),
        ("go version devel +abc", None),
        ("command not found", None),
        ("", None),
    ],
)
def test_versions_of_go(output: str, expected: tuple[str, tuple[int, ...]] | None) -> None:
    assert golang.parse_version(output) == expected


def test_versions_compare_as_numbers() -> None:
    assert golang.required_version("module x\n\ngo 1.26.0\n") == (1, 26, 0)
    found = golang.parse_version("go version go1.9 linux/amd64")
    assert found is not None
    assert found[1] < golang.required_version("go 1.26\n")
    with pytest.raises(BuildError, match="no `go` line"):
        golang.required_version("module x\n")


async def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    waited = asyncio.Event()
    order = []

    async def second() -> None:
        async with locked(path, waiting=waited.set):
            order.append("second")

    async with locked(path):
        task = asyncio.create_task(second())
        await asyncio.wait_for(waited.wait(), 30)
        order.append("first")
    await asyncio.wait_for(task, 30)
    assert order == ["first", "second"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


STEPS = [
    build.Progress("fetching", 0, 0, 0),
    build.Progress("building", 1, 9, 2),
    build.Progress("building", 2, 9, 3),
    build.Progress("building", 8, 9, 40),
    build.Progress("built", 9, 9, 41, finished=True),
]


def test_progress_is_one_line_on_a_terminal() -> None:
    out = Terminal()
    printer = build.Printer(out)
    for step in STEPS:
        printer(step)
    assert out.getvalue().count("\n") == 1
    assert "building 2/9 (3 s)" in out.getvalue()
    assert out.getvalue().endswith("built 9/9 (41 s)\n")


def test_progress_is_few_lines_in_a_log() -> None:
    out = io.StringIO()
    printer = build.Printer(out)
    for step in STEPS:
        printer(step)
    assert out.getvalue().splitlines() == [
        "fetching (0 s)",
        "building 1/9 (2 s)",
        "building 8/9 (40 s)",
        "built 9/9 (41 s)",
    ]


async def test_go_that_fails_is_told_with_its_output_and_what_to_do(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho dial tcp: no route to host\nexit 1\n")
    go.chmod(0o755)
    with pytest.raises(BuildError, match=r"(?s)no route to host.*Next: .*GOPROXY"):
        await build._build(
            golang.Toolchain(go, "go1.26.8"), tmp_path / "key" / "controlplane", 0, lambda _: None, pauses=()
        )
    assert not (tmp_path / "key").exists()


async def test_modules_are_asked_for_again_and_what_does_not_compile_is_not(tmp_path: Path) -> None:
    go, calls = tmp_path / "go", tmp_path / "calls"
    # the proxy answers at the third try, and then nothing compiles
    go.write_text(f"#!/bin/sh\necho $1 >> {calls}\n[ $1 = list ] && [ $(wc -l < {calls}) -gt 2 ]\n")
    go.chmod(0o755)
    toolchain = golang.Toolchain(go, "go1.26.8")
    with pytest.raises(BuildError, match="`go build` failed"):
        await build._build(toolchain, tmp_path / "key" / "controlplane", 0, lambda _: None, pauses=(0, 0, 0))
    assert calls.read_text().split() == ["list", "list", "list", "build"]
