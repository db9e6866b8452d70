"""Several sources in one Application, as Argo CD has them: a chart of a Helm repository, values of it from Git."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.kube.yaml import load_value
from hub.api.application import ApplicationSpec
from hub.core.model import ClusterView
from hub.fleet.tools import ensure_tools
from hub.render.inputs import Inputs
from hub.render.plain import ManifestError
from hub.render.runner import InlineRunner
from hub.sources.charts import ChartRepositories
from hub.sources.dispatch import Sources
from hub.sources.errors import SymlinkEscape
from tests.unit.hub.sources.chart_server import ChartServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from hub.sources.git import GitSource
    from tests.integration.git_rig import Author

TEMPLATE = b"""apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data:
  host: {{ .Values.host | quote }}
  size: {{ .Values.size | quote }}
  zone: {{ .Values.zone | quote }}
"""
VALUES = {
    "values.yaml": b"host: chart\nsize: chart\nzone: chart\n",
    "values-prod.yaml": b"zone: chart-prod\n",
    "templates/map.yaml": TEMPLATE,
}


@pytest.fixture
async def charts_at() -> AsyncIterator[ChartServer]:
    running = ChartServer()
    running.add("web", "1.2.0", VALUES)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def both(sources: Callable[..., GitSource], tmp_path: Path) -> AsyncIterator[Sources]:
    charts = ChartRepositories(tmp_path / "charts", credentials=lambda _: None)
    yield Sources(git=sources("beside"), charts=charts)
    await charts.close()


def app(charts_at: ChartServer, author: Author, *files: str, **more: Any) -> ApplicationSpec:
    """As in Argo CD's own example of several sources."""
    chart = {
        "repoURL": f"{charts_at.url}/stable",
        "chart": "web",
        "revision": "^1.0",
        "helm": {"valueFiles": list(files), **more},
    }
    values = {"repoURL": author.remote, "revision": "main", "ref": "values"}
    beside = {"repoURL": author.remote, "revision": "main", "path": "extra"}
    spec = {"cluster": "eu1", "namespace": "shop", "sources": [chart, values, beside]}
    return ApplicationSpec.model_validate(spec)


async def rendered(both: Sources, spec: ApplicationSpec) -> list[dict[str, Any]]:
    commits = {origin: await both.resolve(*origin) for origin in spec.origins()}
    inputs = await Inputs(both).of("shop/web", spec, cluster=ClusterView("eu1"), commits=commits)
    return list((await InlineRunner().render(await inputs.request())).objects)


async def test_values_of_a_chart_come_from_files_of_another_repository(
    both: Sources, charts_at: ChartServer, author: Author, tmp_path: Path
) -> None:
    files = {"envs/eu1.yaml": "host: eu1\nsize: eu1\n", "envs/size.yaml": "size: large\n"}
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}
    await author.commit(files | {"extra/map.yaml": json.dumps(extra)})
    spec = app(charts_at, author, "values-prod.yaml", "$values/envs/eu1.yaml", "$values/envs/size.yaml")
    objects = {one["metadata"]["name"]: one for one in await rendered(both, spec)}
    assert objects["web"]["data"] == {"host": "eu1", "size": "large", "zone": "chart-prod"}
    assert objects.keys() == {"web", "extra"}, "a source with a ref and no path renders nothing"
    assert objects["web"] == await by_helm(tmp_path, files)


async def by_helm(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    chart = folder / "by-helm"
    for name, data in {"Chart.yaml": b"apiVersion: v2\nname: web\nversion: 1.2.0\n", **VALUES}.items():
        (chart / name).parent.mkdir(parents=True, exist_ok=True)
        (chart / name).write_bytes(data)
    given = [chart / "values-prod.yaml"]
    for name, text in files.items():
        given.append(folder / name.replace("/", "-"))
        given[-1].write_text(text)
    helm = (await ensure_tools()) / "helm"
    values = [part for path in given for part in ("-f", str(path))]
    process = await asyncio.create_subprocess_exec(
        *(str(helm), "template", "web", str(chart), "-n", "shop", *values), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = load_value(out)
    return found


async def test_only_what_a_values_file_says_changes_the_identity(
    both: Sources, charts_at: ChartServer, author: Author
) -> None:
    await author.commit({"envs/eu1.yaml": "host: eu1\n", "extra/map.yaml": "", "other": "1"})
    spec = app(charts_at, author, "$values/envs/eu1.yaml")

    async def identity() -> Any:
        commits = {origin: await both.resolve(*origin, fresh=True) for origin in spec.origins()}
        found = await Inputs(both).of("shop/web", spec, cluster=ClusterView("eu1"), commits=commits)
        return found.identity()

    first = await identity()
    await author.commit({"other": "2"})
    assert await identity() == first
    await author.commit({"envs/eu1.yaml": "host: eu2\n"})
    assert await identity() != first


@pytest.mark.parametrize(
    "name", ["$values/../outside.yaml", "$values/envs/../../x.yaml", "../../x.yaml", "$values"]
)
async def test_s6_a_ref_does_not_climb(
    both: Sources, charts_at: ChartServer, author: Author, name: str
) -> None:
    await author.commit({"extra/map.yaml": "", "x.yaml": "a: 1"})
    with pytest.raises(ManifestError, match="outside"):
        await rendered(both, app(charts_at, author, name))


async def test_s6_a_ref_follows_no_link_outside(
    both: Sources, charts_at: ChartServer, author: Author
) -> None:
    await author.commit({"extra/map.yaml": "", "envs/link.yaml": "-> /etc/passwd"})
    with pytest.raises(SymlinkEscape):
        await rendered(both, app(charts_at, author, "$values/envs/link.yaml"))


async def test_a_missing_values_file_is_said_or_may_be(
    both: Sources, charts_at: ChartServer, author: Author
) -> None:
    await author.commit({"extra/map.yaml": ""})
    with pytest.raises(ManifestError, match="no such values file"):
        await rendered(both, app(charts_at, author, "$values/none.yaml"))
    with pytest.raises(ManifestError, match="ref: nobody"):
        await rendered(both, app(charts_at, author, "$nobody/none.yaml"))
    spec = app(charts_at, author, "$values/none.yaml", ignoreMissingValueFiles=True)
    assert (await rendered(both, spec))[0]["data"]["host"] == "chart"
