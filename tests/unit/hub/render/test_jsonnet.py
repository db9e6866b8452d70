from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hub.render.plain import ManifestError
from hub.render.pool import WorkerPool
from tests.unit.hub.render.desk import CONFIG, Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MAIN = """
local app = import 'app.libsonnet';
local tools = import 'tools.libsonnet';
function(replicas=1, name='web') [
  app.config(name, std.extVar('region'), replicas),
  [tools.config('nested', std.extVar('region'), 0)],
  {second: app.config('named', 'x', 0)},
]
"""
LIBRARY = """{
  config(name, region, replicas):: {
    apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name},
    data: {region: region, replicas: '%d' % replicas},
  },
}
"""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with WorkerPool(timeout=60.0) as pool:
        made = Desk(tmp_path / "repo", pool)
        made.write("web/main.jsonnet", MAIN)
        made.write("web/app.libsonnet", LIBRARY)
        made.write("lib/tools.libsonnet", LIBRARY)
        yield made


def _source(**more: Any) -> dict[str, Any]:
    options = {
        "tlas": [{"name": "replicas", "value": "1 + 2", "code": True}],
        "extVars": [{"name": "region", "value": "eu"}],
        "libs": ["../lib"],
    }
    return {"path": "web", "jsonnet": {**options, **more}}


async def test_arguments_variables_and_libraries(desk: Desk) -> None:
    found = await desk.render(_source())
    assert [(one["metadata"]["name"], one["data"]) for one in found.objects] == [
        ("web", {"region": "eu", "replicas": "3"}),
        ("nested", {"region": "eu", "replicas": "0"}),
        ("named", {"region": "x", "replicas": "0"}),
    ]


async def test_it_is_found_by_what_is_there(desk: Desk) -> None:
    desk.write("alone/a.jsonnet", "{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'a'}}")
    assert [one["metadata"]["name"] for one in (await desk.render({"path": "alone"})).objects] == ["a"]
    desk.write("alone/b.yaml", CONFIG)
    found = await desk.render({"path": "alone"})
    assert [one["metadata"]["name"] for one in found.objects] == ["c"], "beside manifests it must be named"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import '/etc/passwd'", "is not among the source's files"),
        ("importstr '/etc/hostname'", "is not among the source's files"),
        ("import '../../outside.libsonnet'", "is not among the source's files"),
        ("importstr 'gone.txt'", "'gone.txt' is not among"),
        ("error 'no'", "web/main.jsonnet: line 1: no"),
        ("{a: 1", "web/main.jsonnet"),
        ("local f(n) = f(n + 1) + 1; f(0)", "max stack frames exceeded"),
        ("'text'", "object"),
        ("{kind: 'ConfigMap', apiVersion: 'v1'}", "metadata.name is missing"),
    ],
)
async def test_s6_imports_stay_inside_and_errors_name_the_place(desk: Desk, text: str, message: str) -> None:
    desk.write("web/main.jsonnet", text)
    with pytest.raises(ManifestError) as caught:
        await desk.render(_source(tlas=[]))
    assert message in str(caught.value)
    assert "layer: jsonnet" in str(caught.value)


async def test_s6_a_library_outside_the_repository_is_refused(desk: Desk) -> None:
    with pytest.raises(ManifestError, match="leads outside its repository"):
        await desk.render(_source(libs=["../../lib"]))


async def test_s7_f33_a_loop_costs_its_own_render_only(desk: Desk) -> None:
    desk.write("bomb/main.jsonnet", "std.foldl(function(a, b) a + a, std.range(1, 40), 'x')")
    with pytest.raises(Exception, match=r"memory|longer than|worker ended") as caught:
        await desk.render({"path": "bomb"})
    assert type(caught.value).__module__ == "hub.render.failures"
    assert len((await desk.render(_source())).objects) == 3


async def test_both_runtimes_live_in_one_worker(desk: Desk) -> None:
    desk.write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n")
    desk.write("chart/templates/c.yaml", CONFIG)
    for _ in range(3):
        assert len((await desk.render(_source(), {"path": "chart"})).objects) == 4
