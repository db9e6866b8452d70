"""Charts that do not bring what they need: it is fetched by the source, as the lock says, within the project."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.bundle import ApplyPolicy
from agent.contract.sealing import new_keypair
from hub.api.application import ApplicationSpec
from hub.api.project import ProjectSpec
from hub.core.model import ClusterView
from hub.render.dependencies import DependencyRefused
from hub.render.inputs import Inputs
from hub.render.renderer import Rendered, Renderer
from hub.render.runner import InlineRunner
from hub.sources.charts import ChartRepositories
from hub.sources.directory import LOCAL, DirectorySource
from hub.sources.dispatch import Sources
from hub.sources.errors import (
    ChartInvalid,
    DependencyLockStale,
    DependencyNotLocked,
    RevisionNotFound,
    SignatureMissing,
)
from hub.store.disk import DiskStore
from hub.store.index import RenderIndex
from tests.unit.hub.sources.chart_server import ChartServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from hub.render.appinputs import AppInputs
    from hub.render.programs import Programs

REPO = "https://git.example.com/shop/apps"
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: {value}}}\n"


@pytest.fixture
async def server() -> AsyncIterator[ChartServer]:
    running = ChartServer()
    for version in ("1.0.0", "1.4.0", "2.0.0"):
        template = MAP.format(name="db", value=f'"{version}"').encode()
        running.add("db", version, {"templates/map.yaml": template})
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def charts(tmp_path: Path) -> AsyncIterator[ChartRepositories]:
    made = ChartRepositories(tmp_path / "kept", credentials=lambda _: None)
    yield made
    await made.close()


class Shop:
    """A chart in a repository, and what its inputs are."""

    def __init__(self, top: Path, charts: ChartRepositories) -> None:
        self.top = top
        self.charts = charts

    def write(self, files: Mapping[str, str], chart: str = "web") -> None:
        plain = {"templates/map.yaml": MAP.format(name=chart, value="x"), **files}
        for name, text in plain.items():
            path = self.top / chart / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def needs(
        self, version: str, repository: str, chart: str = "web", name: str = "db", **files: str
    ) -> None:
        yaml = f"apiVersion: v2\nname: {chart}\nversion: 0.1.0\ndependencies:\n"
        yaml += f"- name: {name}\n  version: {version!r}\n  repository: {repository!r}\n"
        self.write({"Chart.yaml": yaml, **files}, chart)

    async def inputs(self, project: ProjectSpec | None = None) -> AppInputs:
        folders = DirectorySource({REPO: self.top})
        source = Sources(git=folders, charts=self.charts)
        spec = {"cluster": "eu1", "namespace": "shop", "sources": [{"repoURL": REPO, "path": "web"}]}
        return await Inputs(source).of(
            "shop/web",
            ApplicationSpec.model_validate(spec),
            cluster=ClusterView("eu1"),
            commits={(REPO, "HEAD"): LOCAL},
            project=project,
        )

    async def objects(self, project: ProjectSpec | None = None) -> dict[str, Any]:
        found = await self.inputs(project)
        result = await InlineRunner().render(await found.request())
        return {one["metadata"]["name"]: one["data"]["v"] for one in result.objects}


@pytest.fixture
def shop(tmp_path: Path, charts: ChartRepositories) -> Shop:
    top = tmp_path / "repo"
    top.mkdir()
    return Shop(top, charts)


def project(*repos: str, **more: Any) -> ProjectSpec:
    spec = {"sourceRepos": list(repos), "serviceAccount": "d", "destinations": []} | more
    return ProjectSpec.model_validate(spec)


@pytest.mark.parametrize("kind", ["index", "oci"])
async def test_an_exact_version_is_fetched(shop: Shop, server: ChartServer, kind: str) -> None:
    shop.needs("1.0.0", f"{server.url if kind == 'index' else server.oci}/stable")
    assert await shop.objects() == {"web": "x", "db": "1.0.0"}


async def test_what_helm_locked_is_what_is_fetched(
    shop: Shop, server: ChartServer, programs: Programs, tmp_path: Path
) -> None:
    shop.needs(">=1.0.0 <2.0.0", f"{server.url}/stable")
    await locked(shop, programs, tmp_path)
    server.add("db", "1.9.0", {"templates/map.yaml": MAP.format(name="db", value="late").encode()})
    assert await shop.objects() == {"web": "x", "db": "1.4.0"}


async def locked(shop: Shop, programs: Programs, home: Path) -> None:
    """As `helm dependency update` leaves it, without the archives."""
    done = await asyncio.to_thread(
        subprocess.run,
        [programs.helm, "dependency", "update", str(shop.top / "web")],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(shop.top / "web" / "charts")


async def test_s6_a_lock_that_was_edited_by_hand_is_refused(
    shop: Shop, server: ChartServer, programs: Programs, tmp_path: Path
) -> None:
    shop.needs("^1.0.0", f"{server.url}/stable")
    await locked(shop, programs, tmp_path)
    lock = shop.top / "web" / "Chart.lock"
    text = lock.read_text()
    for old, new in (("1.4.0", "2.0.0"), ("/stable", "/other"), ("name: db", "name: web")):
        lock.write_text(text.replace(old, new))
        with pytest.raises(DependencyLockStale):
            await shop.inputs()
    lock.write_text(text)
    shop.needs("^1.1.0", f"{server.url}/stable")
    with pytest.raises(DependencyLockStale):
        await shop.inputs()


@pytest.mark.parametrize(
    ("version", "repository"),
    [
        ("^1.0.0", "https://charts.example.com"),
        ("1.x", "https://charts.example.com"),
        ("1.0.0", "@mine"),
        ("1.0.0", "alias:mine"),
        ("1.0.0", ""),
        ("1.0.0", "ssh://git@h/x"),
        ("", "https://charts.example.com"),
    ],
)
async def test_what_nobody_can_pin_is_refused(shop: Shop, version: str, repository: str) -> None:
    shop.needs(version, repository)
    with pytest.raises(DependencyNotLocked):
        await shop.inputs()


async def test_s6_s11_a_dependency_is_read_only_from_where_the_project_reads(
    shop: Shop, server: ChartServer
) -> None:
    shop.needs("1.0.0", f"{server.url}/stable")
    before = len(server.seen)
    with pytest.raises(DependencyRefused, match="sourceRepos"):
        await shop.inputs(project(REPO))
    assert len(server.seen) == before
    allowed = project(REPO, f"{server.url}/stable")
    assert await shop.objects(allowed) == {"web": "x", "db": "1.0.0"}
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n-----END PGP PUBLIC KEY BLOCK-----"
    signed = project(REPO, "http://**", verify=[{"sources": [f"{server.url}/**"], "keys": [key]}])
    with pytest.raises(SignatureMissing):
        await shop.inputs(signed)


async def test_local_charts_of_the_same_repository(shop: Shop, server: ChartServer) -> None:
    shop.needs("0.1.0", "file://../db", name="db")
    shop.write({"Chart.yaml": "dependencies: {a: b}\n"}, "db")
    with pytest.raises(ChartInvalid):
        await shop.inputs()
    shop.needs("0.1.0", "file://../lib", chart="db", name="lib")
    shop.write({"Chart.yaml": "apiVersion: v2\nname: lib\nversion: 0.1.0\n"}, "lib")
    assert await shop.objects() == {"web": "x", "db": "x", "lib": "x"}
    first = (await shop.inputs()).identity()
    shop.write({"templates/map.yaml": MAP.format(name="lib", value="y")}, "lib")
    assert (await shop.inputs()).identity() != first


async def test_what_only_begins_like_the_one_that_is_needed_is_not_it(
    shop: Shop, server: ChartServer
) -> None:
    more = {"charts/db-cluster/Chart.yaml": "apiVersion: v2\nname: db-cluster\nversion: 1.0.0\n"}
    shop.needs("1.0.0", f"{server.url}/stable", **more)
    assert await shop.objects() == {"web": "x", "db": "1.0.0"}
    shop.write({"charts/mine/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.0.0\n"})
    before = len(server.seen)
    assert await shop.objects() == {"web": "x"}
    assert len(server.seen) == before


@pytest.mark.parametrize("path", ["file://../../outside", "file:///etc", "file://../.."])
async def test_s6_local_charts_stay_in_the_repository(shop: Shop, path: str) -> None:
    shop.needs("0.1.0", path)
    with pytest.raises(DependencyRefused):
        await shop.inputs()


async def test_s6_local_charts_in_a_circle_end(shop: Shop) -> None:
    shop.needs("0.1.0", "file://../db", name="db")
    shop.needs("0.1.0", "file://../web", chart="db", name="web")
    with pytest.raises(DependencyRefused, match="deep"):
        await shop.inputs()


async def test_a_version_that_is_not_there_is_said(shop: Shop, server: ChartServer) -> None:
    shop.needs("7.0.0", f"{server.url}/stable")
    with pytest.raises(RevisionNotFound, match=r"7\.0\.0"):
        await shop.inputs()


async def test_s11_a_project_that_changed_holds_for_dependencies_of_what_did_not(
    shop: Shop, server: ChartServer, tmp_path: Path
) -> None:
    """The answer to the same question is remembered; what the project said then is no part of it."""
    shop.needs("1.0.0", f"{server.url}/stable")
    index = RenderIndex(tmp_path / "index.sqlite")
    renderer = Renderer(
        source=Sources(git=DirectorySource({REPO: shop.top}), charts=shop.charts),
        pool=InlineRunner(),
        store=DiskStore(tmp_path / "store"),
        index=index,
        digest_key=b"k" * 32,
    )
    spec = {"cluster": "eu1", "namespace": "shop", "sources": [{"repoURL": REPO, "path": "web"}]}
    to = [{"clusters": ["*"], "namespaces": ["shop"]}]
    key = new_keypair()[1]

    async def render(rules: ProjectSpec) -> Rendered:
        return await renderer.render(
            "shop/web",
            ApplicationSpec.model_validate(spec),
            cluster=ClusterView("eu1"),
            commits={(REPO, "HEAD"): "c" * 40},
            policy=ApplyPolicy(namespace="shop", service_account="d"),
            sealing_key=key,
            project=rules,
            version="1",
        )

    try:
        first = await render(project(REPO, "http://**", destinations=to))
        assert await render(project(REPO, "http://**", destinations=to)) is first
        with pytest.raises(DependencyRefused, match="sourceRepos"):
            await render(project(REPO, destinations=to))
        pgp = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nx\n-----END PGP PUBLIC KEY BLOCK-----"
        signed = [{"sources": [f"{server.url}/**"], "keys": [pgp]}]
        with pytest.raises(SignatureMissing):
            await render(project(REPO, "http://**", destinations=to, verify=signed))
    finally:
        index.close()
