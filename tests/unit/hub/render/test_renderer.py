from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.contract.bundle import ApplyPolicy, Bundle, decode
from agent.contract.sealing import new_keypair
from hub.api.application import ApplicationSpec
from hub.api.project import ProjectSpec
from hub.core.model import ClusterView, Fleet
from hub.render.pipeline import RenderRequest
from hub.render.plain import ManifestError, PlainSource
from hub.render.pool import WorkerPool
from hub.render.renderer import NotSealed, Rendered, Renderer
from hub.render.rules import ProjectViolation
from hub.render.runner import InlineRunner
from hub.render.seal import SealedResult, Sealing
from hub.sources.directory import DirectorySource
from hub.store.disk import DiskStore
from hub.store.index import RenderIndex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


REPO = "https://git.example.com/shop/apps"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n"
KEYS = {name: new_keypair() for name in ("eu1", "eu2")}


class Counting(InlineRunner):
    """The real runner, counting: how often something is rendered is the point here."""

    calls = 0

    async def render_sealed(self, request: RenderRequest, sealing: Sealing) -> SealedResult:
        self.calls += 1
        return await super().render_sealed(request, sealing)


class World:
    def __init__(self, root: Path) -> None:
        self.top = root / "repo"
        (self.top / "web").mkdir(parents=True)
        self.write("web/a.yaml", CONFIG)
        self.store = DiskStore(root / "store")
        self.index = RenderIndex(root / "index.sqlite")
        self.runner = Counting()
        self.renderer = self.again()

    def again(self) -> Renderer:
        """As after a restart."""
        source = DirectorySource({REPO: self.top})
        return Renderer(
            source=source, pool=self.runner, store=self.store, index=self.index, digest_key=b"k" * 32
        )

    def write(self, path: str, text: str) -> None:
        (self.top / path).parent.mkdir(exist_ok=True, parents=True)
        (self.top / path).write_text(text)

    async def render(
        self,
        cluster: str = "eu1",
        *,
        app: str = "shop/web",
        project: dict[str, Any] | None = None,
        labels: dict[str, str] | None = None,
        **source: Any,
    ) -> Rendered:
        spec = ApplicationSpec.model_validate(
            {"cluster": cluster, "namespace": "shop", "sources": [{"repoURL": REPO, "path": "web", **source}]}
        )
        return await self.renderer.render(
            app,
            spec,
            cluster=ClusterView(cluster, labels=labels or {}, values={"n": 1}),
            commits={(REPO, "HEAD"): "local"},
            policy=ApplyPolicy(namespace="shop", service_account="d"),
            sealing_key=KEYS[cluster][1],
            project=None if project is None else ProjectSpec.model_validate(project),
            fleet=Fleet(),
        )

    def bundle(self, rendered: Rendered, cluster: str = "eu1") -> Bundle:
        data = self.store.get(rendered.blob)
        assert data is not None
        return decode(data, blob=rendered.blob, private_key=KEYS[cluster][0])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.index.close()


async def test_equal_content_is_rendered_and_stored_once(world: World) -> None:
    results = await asyncio.gather(*(world.render(cluster) for cluster in ("eu1", "eu2") * 10))
    assert world.runner.calls == 1
    assert {one.blob for one in results} == {results[0].blob}
    assert results[0].revisions == {f"{REPO}@HEAD": "local"}
    assert results[0].objects_count == 1
    bundle = world.bundle(results[0])
    assert bundle.objects[0]["metadata"]["name"] == "a"
    assert bundle.policy.service_account == "d"


async def test_what_did_not_change_is_not_rendered_after_a_restart_either(world: World) -> None:
    before = await world.render()
    world.renderer = world.again()
    assert await world.render() == before
    world.write("elsewhere/b.yaml", CONFIG)
    assert await world.render() == before
    assert world.runner.calls == 1
    world.write("web/a.yaml", CONFIG + "data: {x: changed}\n")
    assert (await world.render()).digest != before.digest
    assert world.runner.calls == 2


async def test_a_lost_blob_is_made_again(world: World) -> None:
    before = await world.render()
    world.store.collect(set(), older_than=-1, now=1e12)
    assert await world.render() == before
    assert world.store.has(before.blob)


async def test_templates_see_their_cluster(world: World) -> None:
    text = CONFIG + "data: {where: '{{ cluster.name }} {{ app.name }} {{ app.namespace }} {{ values.x }}'}\n"
    world.write("web/a.yaml", text)
    jinja = {"enabled": True, "values": {"x": 7}}
    one, two = await asyncio.gather(world.render("eu1", jinja=jinja), world.render("eu2", jinja=jinja))
    assert world.bundle(one).objects[0]["data"] == {"where": "eu1 web shop 7"}
    assert world.bundle(two).objects[0]["data"] == {"where": "eu2 web shop 7"}
    assert one.digest != two.digest
    await world.render("eu1", jinja=jinja)
    assert world.runner.calls == 2
    await world.render("eu1", jinja=jinja, labels={"changed": "x"})
    assert world.runner.calls == 3


async def test_i5_secrets_are_sealed_for_each_cluster_and_stored_once_for_it(world: World) -> None:
    world.write("web/s.yaml", SECRET)
    one, two = await asyncio.gather(world.render("eu1"), world.render("eu2"))
    assert world.runner.calls == 2, "rendered once, sealed for each"
    assert one.digest == two.digest
    assert one.blob != two.blob
    assert world.bundle(one).objects[1]["stringData"] == {"password": "hunter2"}
    assert world.bundle(two, "eu2").objects[1]["stringData"] == {"password": "hunter2"}
    world.renderer = world.again()
    assert await world.render("eu1") == one
    assert world.runner.calls == 2
    world.write("web/s.yaml", "# another text, the same meaning\n" + SECRET)
    assert (await world.render("eu1")).digest == one.digest, "the digest follows the plaintext alone"
    assert world.runner.calls == 3
    world.write("web/s.yaml", SECRET.replace("hunter2", "hunter3"))
    assert (await world.render("eu1")).digest != one.digest


async def test_i5_no_secret_value_leaves_a_worker_in_the_clear(world: World) -> None:
    source = PlainSource("repo", {"a.yaml": SECRET, "b.yaml": CONFIG})
    async with WorkerPool() as pool:
        found = await pool.render_sealed(
            RenderRequest((source,)), Sealing(KEYS["eu1"][1], mask_key=b"m" * 32, key="k")
        )
    assert "hunter2" not in json.dumps(found.objects)
    assert "hunter2" not in json.dumps(found.masks)
    assert len(found.masks) == 1


async def test_i5_a_worker_that_does_not_seal_is_not_believed(world: World) -> None:
    class Careless(InlineRunner):
        async def render_sealed(self, request: RenderRequest, sealing: Sealing) -> SealedResult:
            return SealedResult((await self.render(request)).objects, ("hmac:0",))

    world.write("web/s.yaml", SECRET)
    world.runner = Careless()  # type: ignore[assignment]
    with pytest.raises(NotSealed):
        await world.again().render(
            "shop/web",
            ApplicationSpec.model_validate({"cluster": "eu1", "sources": [{"repoURL": REPO, "path": "web"}]}),
            cluster=ClusterView("eu1"),
            commits={(REPO, "HEAD"): "local"},
            policy=ApplyPolicy(),
            sealing_key=KEYS["eu1"][1],
        )
    assert not any(world.store.has(path.name) for path in world.top.parent.glob("store/*/*"))


async def test_errors_name_the_place(world: World) -> None:
    with pytest.raises(ManifestError, match=rf"{REPO}@local:gone: nothing is there") as caught:
        await world.render(path="gone")
    assert caught.value.reason == "PathNotFound"
    world.write("web/b.yaml", CONFIG)
    with pytest.raises(ManifestError, match=rf"{REPO}@local:web: ConfigMap shop/a: it is there twice"):
        await world.render()
    world.write("web/b.yaml", "a: [\n")
    with pytest.raises(ManifestError, match=r"web: b.yaml: line 2"):
        await world.render()
    world.write("web/b.yaml", "")
    await world.render()


async def test_s11_a_projects_rules_are_checked_on_cached_renders_too(world: World) -> None:
    world.write("web/n.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n")
    open_project: dict[str, Any] = {
        "sourceRepos": ["https://git.example.com/shop/*"],
        "destinations": [{"clusters": ["eu*"], "namespaces": ["shop"]}],
        "clusterResources": [{"kind": "Namespace"}],
        "serviceAccount": "d",
    }
    await world.render(project=open_project)
    with pytest.raises(ProjectViolation, match="kind Namespace is not among"):
        await world.render(project=open_project | {"clusterResources": []})
    with pytest.raises(ProjectViolation, match="repository"):
        await world.render(project=open_project | {"sourceRepos": []})
    assert world.runner.calls == 1


async def test_a_chart_is_rendered_for_those_whose_inputs_changed_only(world: World) -> None:
    world.write("chart/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n")
    world.write("chart/templates/a.yaml", CONFIG + "data: {size: {{ .Values.size | quote }}}\n")
    for cluster, size in (("eu1", 1), ("eu2", 2)):
        world.write(f"sizes/{cluster}.yaml", f"size: {size}\n")

    async def both() -> list[Rendered]:
        return [
            await world.render(cluster, path="chart", helm={"valueFiles": [f"../sizes/{cluster}.yaml"]})
            for cluster in ("eu1", "eu2")
        ]

    before = await both()
    assert world.runner.calls == 2
    assert world.bundle(before[1], "eu2").objects[0]["data"] == {"size": "2"}
    world.renderer = world.again()
    assert await both() == before
    assert world.runner.calls == 2, "unchanged, nothing is rendered, after a restart either"
    world.write("sizes/eu1.yaml", "size: 3\n")
    world.write("other/x.yaml", CONFIG)
    after = await both()
    assert world.runner.calls == 3
    assert after[0].digest != before[0].digest
    assert after[1] == before[1]
    world.write("sizes/eu1.yaml", "size: 1\n# said again\n")
    assert (await both())[0].digest == before[0].digest, "equal content is no release"


async def test_s11_the_overlays_repository_must_be_allowed_too(world: World) -> None:
    spec = ApplicationSpec.model_validate(
        {
            "cluster": "eu1",
            "namespace": "shop",
            "sources": [{"repoURL": REPO, "path": "web"}],
            "overlay": {"repoURL": "https://evil.example.com/x"},
        }
    )
    project = {"sourceRepos": [REPO], "destinations": [{"clusters": ["*"], "namespaces": ["*"]}]}
    with pytest.raises(ProjectViolation, match=r"evil.example.com/x is not among"):
        await world.renderer.render(
            "shop/web",
            spec,
            cluster=ClusterView("eu1"),
            commits=dict.fromkeys(spec.origins(), "local"),
            policy=ApplyPolicy(namespace="shop"),
            sealing_key=KEYS["eu1"][1],
            project=ProjectSpec.model_validate({**project, "serviceAccount": "d"}),
            fleet=Fleet(),
        )
