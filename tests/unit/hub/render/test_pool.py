from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hub.core.expansion import ClusterFacts, ExpandRequest, Expansion, TemplateError
from hub.render.failures import (
    RenderCrashed,
    RenderFailed,
    RenderOutOfMemory,
    RenderTimeout,
    RenderTooLarge,
)
from hub.render.pipeline import RenderRequest, RenderResult
from hub.render.plain import ManifestError, PlainSource
from hub.render.pool import WorkerPool
from hub.render.process import WorkerProcess
from hub.render.programs import Programs
from hub.render.worker import HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ app.name }}'}\n"


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(timeout=60.0, memory_mb=256) as running:
        await running.ping()
        yield running


@pytest.fixture
async def hasty() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(timeout=2.0, memory_mb=256) as running:
        await running.ping()
        yield running


def manifests(name: str, text: str = MANIFEST) -> RenderRequest:
    return RenderRequest((PlainSource("repo", {"a.yaml": text}, jinja=True),), {"app": {"name": name}})


def names(result: RenderResult | BaseException) -> list[str]:
    assert isinstance(result, RenderResult), result
    return [one["metadata"]["name"] for one in result.objects]


async def test_many_at_once_each_its_own_answer(pool: WorkerPool) -> None:
    results = await asyncio.gather(*(pool.render(manifests(f"a{at}")) for at in range(200)))
    assert [names(result) for result in results] == [[f"a{at}"] for at in range(200)]


async def test_expands(pool: WorkerPool) -> None:
    spec = {
        "generators": [{"clusters": {}}],
        "template": {"metadata": {"name": "{{ name }}"}, "spec": {"cluster": "{{ name }}"}},
    }
    result = await pool.expand(ExpandRequest("shop", "apps", spec, (ClusterFacts("b"), ClusterFacts("a"))))
    assert isinstance(result, Expansion)
    assert [child.name for child in result.children] == ["a", "b"]
    spec["template"]["metadata"]["name"] = "{{ ''.__class__ }}"  # type: ignore[index]
    with pytest.raises(
        TemplateError, match=r"set shop/apps: generators\[0\]: metadata.name: line 1: .*unsafe"
    ):
        await pool.expand(ExpandRequest("shop", "apps", spec, (ClusterFacts("b"),)))


LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = (
    "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}"
    "{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
)
PRINTING = (
    "{% for i in range(99999) %}{% for j in range(999) %}aaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endfor %}"
)
MANY_LISTS = "{% set x = [0] * 1000000 %}" + "{{ [" + "x, " * 400 + "] }}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{{ ''.__class__.__mro__ }}", ManifestError),
        ("{{ 'x' * 10**9 }}", ManifestError),
        ("{{ 'x' | center(10**9) }}", ManifestError),
        (DOUBLING, ManifestError),
        (PRINTING, ManifestError),
        ("- " * 100_000, ManifestError),
        ("[" * 100_000, ManifestError),
        ("{{ " + "(" * 20_000, ManifestError),
    ],
    ids=[
        "escape",
        "repeat",
        "center",
        "doubling",
        "printing",
        "deep-yaml",
        "deep-flow",
        "deep",
    ],
)
async def test_s7_f33_a_bomb_costs_its_own_call_only(
    pool: WorkerPool, text: str, kind: type[Exception] | tuple[type[Exception], ...]
) -> None:
    await costs_its_own_call_only(pool, text, kind)


@pytest.mark.parametrize(
    ("text", "kind"),
    [(LOOPS, RenderTimeout), (MANY_LISTS, (ManifestError, RenderFailed))],
    ids=["loops", "list"],
)
async def test_s7_f33_what_does_not_end_costs_its_own_call_only(
    hasty: WorkerPool, text: str, kind: type[Exception] | tuple[type[Exception], ...]
) -> None:
    await costs_its_own_call_only(hasty, text, kind)


async def costs_its_own_call_only(
    pool: WorkerPool, text: str, kind: type[Exception] | tuple[type[Exception], ...]
) -> None:
    before, bomb, after = await asyncio.gather(
        pool.render(manifests("before")),
        pool.render(manifests("bomb", text)),
        pool.render(manifests("after")),
        return_exceptions=True,
    )
    assert isinstance(bomb, kind), bomb
    assert (names(before), names(after)) == (["before"], ["after"])
    assert names(await pool.render(manifests("later"))) == ["later"]


async def test_f33_a_workers_start_is_not_the_time_of_the_call_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\nsleep 2.5\nexec {sys.executable} "$@"\n')  # as on a machine that is busy
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    async with WorkerPool(timeout=2.0) as pool:
        assert names(await pool.render(manifests("a"))) == ["a"]


async def test_f33_a_worker_that_cannot_begin_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = tmp_path / "python"
    ends.write_text("#!/bin/sh\nexit 3\n")
    ends.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", str(ends))
        async with WorkerPool() as pool:
            with pytest.raises(RenderCrashed, match="its worker ended"):
                await pool.render(manifests("a"))
            patched.undo()
            assert names(await pool.render(manifests("b"))) == ["b"]


async def test_f33_a_worker_whose_answers_nobody_reads_any_more_is_ended() -> None:
    request = manifests("big", f"{MANIFEST}data: {{k: {'a' * 1_000_000}}}\n").to_wire()
    body = json.dumps({"op": "render", "request": request}, default=dict).encode()
    worker = WorkerProcess(Programs(), 512, 60.0)
    await worker.ensure()
    process = worker._process
    assert process is not None
    worker.send([HEADER.pack(len(body)) + body] * 4)
    async with asyncio.timeout(60):
        while not process.stdout._paused:  # type: ignore[union-attr]  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    await asyncio.wait_for(worker.stop(), 60)
    assert process.returncode is not None


async def test_s7_output_is_bounded() -> None:
    lines = "{% for i in range(15) %}  k{{ i }}: {{ 'a' * 1000000 }}\n{% endfor %}"
    big = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n" + lines
    source = PlainSource("repo", {f"{at}.yaml": big for at in range(5)}, jinja=True)
    async with WorkerPool(memory_mb=1024, timeout=120.0) as pool:
        with pytest.raises(RenderTooLarge):
            await pool.render(RenderRequest((source,), {}))
        assert names(await pool.render(manifests("later"))) == ["later"]


async def test_s7_memory_is_bounded_outside_templates_too() -> None:
    lines = "".join(f"  k{at}: {'a' * 1000}\n" for at in range(40_000))
    source = PlainSource("repo", {"a.yaml": "apiVersion: v1\nkind: X\nmetadata: {name: x}\ndata:\n" + lines})
    async with WorkerPool(memory_mb=128, timeout=120.0) as pool:
        with pytest.raises(RenderOutOfMemory):
            await pool.render(RenderRequest((source,), {}))
        assert names(await pool.render(manifests("later"))) == ["later"]


async def test_f33_a_crash_costs_its_own_call_only(pool: WorkerPool) -> None:
    call = asyncio.create_task(pool.render(manifests("x", LOOPS)))
    other = asyncio.create_task(pool.render(manifests("y")))
    await pool_has_taken(call)
    for pid in await asyncio.to_thread(workers):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(RenderCrashed, match=r"repo: its worker ended by SIGKILL"):
        await call
    assert names(await other) == ["y"]


def workers() -> list[int]:
    """Those of this process, which may have other children: API servers that other tests use."""
    tasks = Path("/proc/self/task").glob("*/children")
    children = [Path("/proc") / pid for task in tasks for pid in task.read_text().split()]
    return [int(one.name) for one in children if b"hub.render.worker" in (one / "cmdline").read_bytes()]


async def test_workers_are_replaced_after_many_calls() -> None:
    async with WorkerPool(max_calls=3) as pool:
        for at in range(10):
            assert names(await pool.render(manifests(f"a{at}"))) == [f"a{at}"]


async def test_a_cancelled_call_does_not_hold_the_others(hasty: WorkerPool) -> None:
    call = asyncio.create_task(hasty.render(manifests("x", LOOPS)))
    other = asyncio.create_task(hasty.render(manifests("y")))
    await pool_has_taken(call)
    call.cancel()
    assert names(await other) == ["y"]


async def pool_has_taken(call: asyncio.Task[RenderResult]) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    assert not call.done()


async def test_closing_ends_open_calls() -> None:
    pool = WorkerPool()
    pool.start()
    call = asyncio.create_task(pool.render(manifests("x", LOOPS)))
    await pool_has_taken(call)
    await pool.close()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_input_is_bounded(pool: WorkerPool) -> None:
    with pytest.raises(RenderFailed, match="larger than"):
        await pool.render(manifests("x", "a" * (64 * 1024 * 1024)))


async def test_scratch_folders_go_with_their_workers_and_their_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = tmp_path / "axletree-worker-999999999-x"
    dead.mkdir()
    (dead / "file").write_text("left")
    async with WorkerPool() as pool:
        await pool.render(manifests("a"))
        (own,) = os.listdir(tmp_path)  # noqa: PTH208 - a look
        assert own.startswith(f"axletree-worker-{os.getpid()}-")
        (tmp_path / own).rmdir()
        await pool.render(manifests("b"))
        assert os.listdir(tmp_path) != [own]  # noqa: PTH208
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_s7_words_of_users_are_rendered_within_the_same_limits(pool: WorkerPool) -> None:
    assert (
        await pool.text("{{ name | upper }}: {{ message }}", {"name": "web", "message": "{{ 1 }}"})
        == "WEB: {{ 1 }}"
    )
    with pytest.raises(RenderFailed):
        await pool.text("{{ 'x' * 100000000 }}", {})
    with pytest.raises(RenderFailed):
        await pool.text("{{ name.__class__ }}", {"name": "web"})
