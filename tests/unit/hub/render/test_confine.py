from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hub.render.chart import ChartSource, ValuesLayer
from hub.render.content import Content, packed
from hub.render.failures import RenderFailed
from hub.render.kustomize import KustomizeTree
from hub.render.pipeline import RenderRequest
from hub.render.plain import ManifestError, PlainSource
from hub.render.pool import WorkerPool
from hub.render.programs import Programs
from tests.unit.hub.render.archives import archive_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROBE = """
import os, socket, subprocess, sys
from hub.render.confine import confine, system_paths
print(confine(read=system_paths(), write=[sys.argv[1]]))
def tried(work):
    try:
        work()
        return "yes"
    except OSError:
        return "no"
print(tried(socket.socket), tried(lambda: open(sys.argv[2])), tried(lambda: open("/etc/passwd")),
      tried(lambda: open("/proc/1/environ")), tried(lambda: os.listdir(os.path.expanduser("~"))),
      tried(lambda: open(sys.argv[2], "w")), tried(lambda: open(sys.argv[1] + "/own", "w")))
print(subprocess.run(["/bin/sh", "-c", "cat " + sys.argv[2]], capture_output=True).returncode != 0)
"""
CHART: Content = {"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n"}
GOOD = PlainSource("repo", {"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})


@pytest.fixture
async def pool(programs: Programs) -> AsyncIterator[WorkerPool]:
    async with WorkerPool(timeout=8.0, memory_mb=384, programs=Programs(programs.kustomize)) as running:
        await running.ping()
        yield running


def chart(files: Content, *layers: ValuesLayer) -> RenderRequest:
    source = ChartSource("repo", repr(sorted(files)), {**CHART, **files}, "web", "shop", layers=layers)
    return RenderRequest((source,))


def test_s6_s7_a_confined_process_has_no_network_and_no_files(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other.txt"
    own.mkdir()
    other.write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(own), str(other)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    first, second, third = done.stdout.splitlines()
    if "landlock=0" in first:
        pytest.skip(f"this kernel has no Landlock: {first}")
    assert "seccomp=True" in first or os.uname().machine not in ("x86_64", "aarch64")
    assert second == "no no no no no no yes"
    assert third == "True", "nor do the programs that it starts"


async def test_workers_say_what_confines_them(pool: WorkerPool) -> None:
    said = await pool.ping()
    assert {"landlock", "seccomp"} <= set(said)


DEEP = '{{- define "a" -}}{{ include "a" . }}{{- end -}}{{ include "a" . }}'
TPL = '{{ define "t" }}{{ tpl .Values.t . }}{{ end }}{{ template "t" . }}'
LOOP = "{{ range until 2000000000 }}{{ end }}"
BIG = '{{ repeat 2000000000 "a" }}'
GROWING = '{{ $s := "aaaaaaaaaaaaaaaa" }}{{ range until 60 }}{{ $s = print $s $s }}{{ end }}'
YAML_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 9)}]\n" for at in range(9)
)


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        (DEEP, ""),
        (TPL, "t: '{{ tpl .Values.t . }}'\n"),
        (LOOP, ""),
        (BIG, ""),
        (GROWING, ""),
        ("", YAML_BOMB),
        (YAML_BOMB, ""),
        ("{{ .Files.Get }}", ""),
        ("{{ env `HOME` }}", ""),
        ("{{ exec `id` }}", ""),
    ],
    ids=["include", "tpl", "loop", "repeat", "growing", "values", "output", "call", "env", "exec"],
)
async def test_s7_f33_an_evil_chart_costs_its_own_render_only(
    pool: WorkerPool, text: str, layer: str
) -> None:
    layers = (ValuesLayer("values.yaml", text=layer),) if layer else ()
    evil, good = await asyncio.gather(
        pool.render(chart({"templates/a.yaml": text}, *layers)),
        pool.render(RenderRequest((GOOD,))),
        return_exceptions=True,
    )
    assert isinstance(evil, ManifestError | RenderFailed), evil
    assert not isinstance(good, BaseException), good
    assert len((await pool.render(RenderRequest((GOOD,)))).objects) == 1


async def test_s6_archives_in_a_chart_hold_no_links_and_do_not_climb(pool: WorkerPool) -> None:
    config = (
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: {{ .Files.Get `l` | quote }}}\n"
    )
    base = {"sub/Chart.yaml": b"apiVersion: v2\nname: sub\nversion: 1.0.0\n", "sub/templates/a.yaml": config}
    linked = archive_of(base, links={"sub/l": "/etc/passwd"})
    climbing = archive_of({**base, "sub/../../../../tmp/axletree-evil": b"x"})
    absolute = archive_of({**base, "/tmp/axletree-evil": b"x"})
    for data in (linked, climbing, absolute):
        try:
            result = await pool.render(chart(packed({"charts/sub-1.0.0.tgz": data})))
        except (ManifestError, RenderFailed):
            continue
        assert result.objects[0]["data"] == {"x": ""}
    assert not os.path.exists("/tmp/axletree-evil")  # noqa: ASYNC240, PTH110 - a look


async def test_s7_a_zip_bomb_in_a_chart_is_refused(pool: WorkerPool) -> None:
    data = archive_of(
        {
            "sub/Chart.yaml": b"apiVersion: v2\nname: sub\nversion: 1.0.0\n",
            **{f"sub/files/{at}": b"\0" * 4_000_000 for at in range(60)},
        }
    )
    assert len(data) < 1_000_000
    with pytest.raises((ManifestError, RenderFailed)):
        await pool.render(chart(packed({"charts/sub-1.0.0.tgz": data})))
    assert len((await pool.render(RenderRequest((GOOD,)))).objects) == 1


async def test_a_chart_lock_is_no_reason_to_fetch(pool: WorkerPool) -> None:
    lock = "dependencies: [{name: x, repository: 'https://127.0.0.1:1', version: 1.0.0}]\ndigest: sha256:0\n"
    assert (await pool.render(chart({"Chart.lock": lock}))).objects == ()


async def test_f33_a_program_that_hangs_is_ended_with_its_worker(tmp_path: Path) -> None:
    program = tmp_path / "kustomize"
    program.write_text("#!/bin/sh\nwhile :; do :; done\n")
    program.chmod(0o755)
    tree = KustomizeTree("repo", {"kustomization.yaml": "{}"}, "")
    async with WorkerPool(timeout=2.0, programs=Programs((str(program),))) as pool:
        await pool.ping()
        with pytest.raises(RenderFailed):
            await pool.render(RenderRequest((tree,)))
        assert len((await pool.render(RenderRequest((GOOD,)))).objects) == 1
    deadline = time.monotonic() + 60
    while _runs(str(program)) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process ends
        await asyncio.sleep(0.05)
    assert not _runs(str(program))


async def test_f33_a_program_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "kustomize"
    program.write_text("#!/bin/sh\nexec /bin/cat /dev/zero\n")
    program.chmod(0o755)
    tree = KustomizeTree("repo", {"kustomization.yaml": "{}"}, "")
    async with WorkerPool(timeout=10.0, programs=Programs((str(program),))) as pool:
        with pytest.raises((ManifestError, RenderFailed)):
            await pool.render(RenderRequest((tree,)))
        assert len((await pool.render(RenderRequest((GOOD,)))).objects) == 1


def _runs(marker: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends just now
            if marker.encode() in path.read_bytes():
                return True
    return False
