"""Known attacks on renderers of charts and overlays, each through the whole way that a hub goes.

What a confined worker has against them is in `test_confine.py`; what stays inside its repository in
`test_kustomize.py`, `test_jsonnet.py` and `tests/unit/hub/cli/test_render_command.py`.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.errors import AxletreeError
from hub.render.pool import WorkerPool
from tests.unit.hub.render.desk import CONFIG, Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.render.programs import Programs

ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 9)}]\n" for at in range(9)
)
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n"
PATCH = "patches: [{target: {kind: ConfigMap}, path: %s}]\nresources: [c.yaml]\n"


@pytest.fixture
async def desk(tmp_path: Path, programs: Programs) -> AsyncIterator[Desk]:
    (tmp_path / "secret").write_text("hunter2\n")
    async with WorkerPool(timeout=8.0, memory_mb=384, programs=programs) as pool:
        made = Desk(tmp_path / "repo", pool)
        made.write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n")
        made.write("good/c.yaml", CONFIG)
        yield made


async def _refused(desk: Desk, source: dict[str, Any]) -> str:
    """Refused with a reason of its own, quickly; and the next one renders as ever."""
    async with asyncio.timeout(120):
        with pytest.raises(AxletreeError) as caught:
            await desk.render(source)
        assert len((await desk.render({"path": "good"})).objects) == 1
    assert "hunter2" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    "template",
    [
        '{{ (lookup "v1" "Secret" "kube-system" "x").data | toJson | quote }}',
        '{{ getHostByName "localhost" | quote }}',
        '{{ .Files.Get "../../secret" | quote }}',
        '{{ .Files.Get "/etc/hostname" | quote }}',
        '{{ range $path, $_ := .Files.Glob "../../*" }}{{ $path }}{{ end }}',
        '{{ range $path, $_ := .Files.Glob "/etc/*" }}{{ $path }}{{ end }}',
    ],
    ids=["lookup", "dns", "climbs", "absolute", "glob-climbs", "glob-absolute"],
)
async def test_s6_a_template_sees_its_chart_and_nothing_else(desk: Desk, template: str) -> None:
    desk.write("chart/templates/a.yaml", f"{MAP}  x: a{template}\n")
    found = await desk.render({"path": "chart"})
    assert found.objects[0]["data"]["x"].strip('"').removesuffix('"') in ("a", 'a"', "anull", 'a"null')


@pytest.mark.parametrize(
    "text",
    [
        '{{ define "t" }}{{ tpl (printf "{{ template %q . }}" "t") . }}{{ end }}{{ template "t" . }}',
        '{{ range $i := until 100000 }}{{ tpl "{{ until 100000 | toString }}" $ }}{{ end }}',
        "{{ $x := list 1 }}{{ range until 40 }}{{ $x = concat $x $x }}{{ end }}",
        '{{ regexReplaceAll "(a*)*b" (repeat 5000000 "a") "x" | len }}{{ repeat 900000000 "y" }}',
        f"{ALIASES}",
    ],
    ids=["tpl-calls-itself", "tpl-many", "list", "pattern", "aliases"],
)
async def test_s7_f33_a_chart_that_grows_without_end_costs_its_own_render(desk: Desk, text: str) -> None:
    desk.write("chart/templates/a.yaml", text)
    await _refused(desk, {"path": "chart"})


@pytest.mark.parametrize(
    "name",
    ["../../secret", "../../../etc/hostname", "a/../../../secret", "..", "."],
)
async def test_s6_a_values_file_stays_in_its_repository(desk: Desk, name: str) -> None:
    desk.write("chart/templates/a.yaml", f"{MAP}  x: {{{{ .Values.x | quote }}}}\n")
    await _refused(desk, {"path": "chart", "helm": {"valueFiles": [name]}})


async def test_s6_a_values_file_that_is_a_link_outside_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.write("chart/templates/a.yaml", f"{MAP}  x: a\n")
    (desk.top / "chart" / "values-x.yaml").symlink_to(tmp_path / "secret")
    await _refused(desk, {"path": "chart", "helm": {"valueFiles": ["values-x.yaml"]}})
    await _refused(desk, {"path": "chart"})


async def test_s7_values_that_are_an_alias_bomb_are_refused(desk: Desk) -> None:
    desk.write("chart/templates/a.yaml", f"{MAP}  x: a\n")
    desk.write("chart/values-x.yaml", ALIASES)
    assert (
        await _refused(desk, {"path": "chart", "helm": {"valueFiles": ["values-x.yaml"]}})
        == "InvalidManifest"
    )
    desk.write("chart/values.yaml", ALIASES)
    await _refused(desk, {"path": "chart"})


@pytest.mark.parametrize(
    "text",
    [
        "resources: [c.yaml]\nconfigMapGenerator: [{name: x, files: [../../secret]}]\n",
        "resources: [c.yaml]\nconfigMapGenerator: [{name: x, files: [/etc/hostname]}]\n",
        "resources: [c.yaml]\nconfigMapGenerator: [{name: x, envs: [../../secret]}]\n",
        "resources: [c.yaml]\nsecretGenerator: [{name: x, files: [link]}]\n",
        PATCH % "../../secret",
        PATCH % "/etc/hostname",
        "resources: [../../secret]\n",
        "resources: [link]\n",
        "resources: [c.yaml]\nreplacements: [{path: ../../secret}]\n",
        "resources: [c.yaml]\nopenapi: {path: ../../secret}\n",
        "resources: [c.yaml]\nconfigurations: [../../secret]\n",
        "resources: [c.yaml]\ncrds: [../../secret]\n",
        "resources: [c.yaml]\ngenerators: [exec.yaml]\n",
        "resources: [c.yaml]\ntransformers: [exec.yaml]\n",
        "resources: [c.yaml]\nhelmCharts: [{name: x, repo: 'https://127.0.0.1:1'}]\n",
        "resources: ['https://127.0.0.1:1/x.yaml']\n",
        "resources: ['127.0.0.1:1/repo//base?ref=main']\n",
        "resources: ['git@127.0.0.1:repo']\n",
        "resources: ['gh:org/repo', 'host/org/_git/repo', 'host/repo.git//base']\n",
        "components: ['ssh://git@127.0.0.1/repo']\n",
        "resources: [.]\n",
        "resources: [c.yaml]\n" + ALIASES,
        "resources: [bomb.yaml]\n",
    ],
)
async def test_s6_s7_an_overlay_reads_its_repository_and_runs_and_fetches_nothing(
    desk: Desk, tmp_path: Path, text: str
) -> None:
    desk.write("over/kustomization.yaml", text)
    desk.write("over/c.yaml", CONFIG)
    desk.write("over/bomb.yaml", MAP + "  x: &x y\n" + ALIASES)
    desk.write(
        "over/exec.yaml",
        "apiVersion: x/v1\nkind: Run\nmetadata: {name: r, annotations: {config.kubernetes.io/function: "
        f"'exec: {{path: /bin/touch {tmp_path}/touched}}'}}}}\n",
    )
    if "link" in text:
        (desk.top / "over" / "link").symlink_to(tmp_path / "secret")
    await _refused(desk, {"path": "over"})
    assert not os.path.exists(tmp_path / "touched")  # noqa: ASYNC240, PTH110 - a look


async def test_s6_a_patch_of_the_application_reads_no_file(desk: Desk) -> None:
    patch = {"target": {"kind": "ConfigMap"}, "patch": "../../secret"}
    async with asyncio.timeout(120):
        with pytest.raises(AxletreeError) as caught:
            await desk.render({"path": "good"}, patches=[patch])
    assert "hunter2" not in str(caught.value)
