"""Commits that are wrong: each stops what it concerns, says so where people look, and `git revert` heals it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from e2e.order import releases
from e2e.rig import PROD, SPOKES
from e2e.words import CONFIG_MAPS, DEPLOYMENTS, ROOT, SETS, condition, image, status

if TYPE_CHECKING:
    from e2e.rig import Rig

pytestmark = [pytest.mark.fleet, pytest.mark.asyncio(loop_scope="session")]
TAGS = {"database": "next", "frontend": "next"}


async def test_a_manifest_that_does_not_parse_blocks_that_child_and_its_descendants_only(rig: Rig) -> None:
    mark = len(rig.hub.log)
    name = "shop/backend/values.yaml"
    text = rig.checkout.changed(name, "port: 8080", "port: [8080")
    files = rig.checkout.retagged(TAGS) | {name: text}
    playground = "dev/playground/playground.yaml"
    files[playground] = rig.checkout.changed(playground, 'debug: "true"', 'debug: "false"')
    commit = await rig.commit("A slip", files)

    def told() -> None:
        rig.planned("shop/shop", commit)
        for cluster in PROD:
            backend = rig.app(f"shop/backend-{cluster}")
            stalled = condition(backend, "Stalled")
            assert stalled["status"] == "True", status(backend, "conditions")
            assert "shop/backend" in stalled["message"]
            assert "values.yaml: line 4" in stalled["message"]
            frontend = rig.app(f"shop/frontend-{cluster}")
            assert status(frontend, "sync", "state") == "Blocked", status(frontend, "sync")
            (blocked, *_) = status(frontend, "blockedBy")
            assert blocked["on"] == f"shop/backend-{cluster}"
            assert "values.yaml" in blocked["root"], "the root of the chain is what a person should look at"
            rig.live(f"shop/database-{cluster}")
            assert _moved(rig, f"shop/database-{cluster}")
        rig.live("dev/playground-lab1")
        assert _moved(rig, "dev/playground-lab1")
        assert condition(rig.set("shop/shop"), "Ready")["status"] == "False"

    await rig.hub.eventually(told)
    concerned = {"shop/database-eu1", "shop/database-us1", "dev/playground-lab1"}
    assert {key for key, _ in releases(rig.hub.log[mark:])} == concerned
    for cluster in PROD:
        for app in ("backend", "frontend"):
            deployment = rig.spokes[cluster].get(DEPLOYMENTS, f"shop-{app}/{app}")
            assert deployment is not None
            assert image(deployment).endswith(":1.0.0"), "what ran goes on"

    await rig.revert()
    await rig.hub.eventually(rig.green)


async def test_a_template_error_freezes_that_set_at_its_last_plan(rig: Rig) -> None:
    before = {key: status(app, "sync") for key, app in rig.children("shop/shop").items()}
    assert len(before) == 6
    await rig.replace("A typo", "root/shop.yaml", "shop-{{ path.basename }}", "shop-{{ path.basenam }}")

    def told() -> None:
        shop = rig.set("shop/shop")
        stalled = condition(shop, "Stalled")
        assert stalled["status"] == "True", status(shop, "conditions")
        assert stalled["reason"] == "TemplateError"
        for part in ("shop/shop", "basenam", "spec.namespace", "line 1", "eu1"):
            assert part in stalled["message"], stalled["message"]
        assert condition(shop, "Ready")["status"] == "False"

    await rig.hub.eventually(told)
    plan = status(rig.set("shop/shop"), "plan")
    name = "dev/playground/playground.yaml"
    files = {name: rig.checkout.changed(name, 'debug: "true"', 'debug: "false"')}
    commit = await rig.commit("Meanwhile", {**files, **rig.checkout.retagged(TAGS)})

    def others_go_on() -> None:
        rig.planned("dev/dev", commit)
        rig.planned("platform/platform", commit)
        rig.live("dev/playground-lab1")
        assert _moved(rig, "dev/playground-lab1")

    await rig.hub.eventually(others_go_on)
    told()
    assert status(rig.set("shop/shop"), "plan") == plan, "the last good plan stays"
    assert {key: status(app, "sync") for key, app in rig.children("shop/shop").items()} == before

    await rig.revert("HEAD~1")

    def healed() -> None:
        rig.healthy("shop/shop")
        for key in before:
            rig.live(key)
            assert _moved(rig, key) == ("backend" not in key), "what was committed meanwhile goes out"

    await rig.hub.eventually(healed)


@dataclass(frozen=True)
class Slip:
    """One wrong line in `root/shop.yaml`, and what people have to be told."""

    reason: str
    old: str
    new: str
    parts: tuple[str, ...]
    final: bool = True
    """Whether only a commit helps; a repository may come back by itself."""
    allowed: str = ""
    """A repository that the Project is told of in the same commit."""


_SOURCE = "/fleet.git\n              revision"
"""Where the generator reads, and not where the template points to."""


SLIPS = (
    Slip(
        "UnknownCluster",
        'cluster: "{{ cluster.name }}"',
        'cluster: "{{ cluster.name }}-gone"',
        ("spec.cluster", "eu1-gone", "params:", '"basename": "'),
    ),
    Slip("UnknownClusterSet", "clusterSet: prod", "clusterSet: prud", ("generators[0]", '"prud"')),
    Slip(
        "DuplicateName",
        'name: "{{ path.basename }}-{{ cluster.name }}"',
        'name: "{{ path.basename }}"',
        ("backend", "eu1", "us1"),
    ),
    Slip(
        "RevisionNotFound",
        "revision: main\n              dir",
        "revision: mian\n              dir",
        ("mian",),
    ),
    Slip("RepositoryNotAllowed", _SOURCE, _SOURCE.replace("fleet", "float"), ("float.git",)),
    Slip(
        "RepositoryDenied",
        _SOURCE,
        _SOURCE.replace("fleet", "float"),
        ("float.git",),
        allowed="float.git",
        final=False,
    ),
)


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.reason)
async def test_a_set_that_cannot_be_expanded_says_why_and_keeps_its_last_plan(rig: Rig, slip: Slip) -> None:
    before = _targets(rig, "shop/shop")
    plan = status(rig.set("shop/shop"), "plan", "id")
    spokes = await rig.settled(*PROD, agent=False)
    playground = "dev/playground/playground.yaml"
    files = {
        "root/shop.yaml": rig.checkout.changed("root/shop.yaml", slip.old, slip.new),
        playground: rig.checkout.changed(playground, 'debug: "true"', 'debug: "false"'),
    }
    if slip.allowed:
        url = rig.checkout.url
        both = f'"{url}", "{url.rpartition("/")[0]}/{slip.allowed}"'
        files["root/shop-project.yaml"] = rig.checkout.changed("root/shop-project.yaml", f'"{url}"', both)
    commit = await rig.commit("A slip", files)

    def told() -> None:
        shop = rig.set("shop/shop")
        ready, stalled = condition(shop, "Ready"), condition(shop, "Stalled")
        assert (ready["status"], ready["reason"]) == ("False", slip.reason), ready
        assert stalled["status"] == ("True" if slip.final else "False"), stalled
        for part in ("shop/shop", *slip.parts):
            assert part in ready["message"], ready["message"]
        rig.planned("dev/dev", commit)
        rig.planned("platform/platform", commit)
        rig.live("dev/playground-lab1")
        assert _moved(rig, "dev/playground-lab1"), "other sets go on"

    await rig.hub.eventually(told)
    # Before the root brings the slip, the set as it was may be planned at the same commit: that changes nothing.
    assert status(rig.set("shop/shop"), "plan", "id") <= plan + 1, "the last good plan stays"
    assert _targets(rig, "shop/shop") == before
    assert {cluster: await rig.versions(cluster) for cluster in PROD} == spokes


async def test_a_path_that_is_missing_stalls_the_child_that_names_it_and_what_runs_goes_on(rig: Rig) -> None:
    await rig.replace(
        "A wrong path", "root/platform.yaml", "path: platform", "path: platform/{{ cluster.name }}"
    )

    def told() -> None:
        for cluster in SPOKES:
            app = rig.app(f"platform/platform-{cluster}")
            stalled = condition(app, "Stalled")
            assert stalled["status"] == "True", status(app, "conditions")
            assert f"platform/{cluster}" in stalled["message"], stalled["message"]
            assert status(app, "sync", "live") == rig.digests[f"platform/platform-{cluster}"]
        assert condition(rig.set("platform/platform"), "Ready")["status"] == "False"
        assert status(rig.set("shop/shop"), "health", "state") == "Healthy", "other sets go on"

    await rig.hub.eventually(told)
    for cluster in SPOKES:
        assert rig.spokes[cluster].get(CONFIG_MAPS, "platform/cluster-info") is not None


async def test_what_is_stalled_at_a_set_is_told_at_the_root(rig: Rig) -> None:
    await rig.replace("A typo", "root/shop.yaml", "shop-{{ path.basename }}", "shop-{{ path.basenam }}")

    def told() -> None:
        root = rig.app(ROOT)
        assert condition(rig.set("shop/shop"), "Stalled")["status"] == "True"
        assert status(root, "health", "state") != "Healthy", status(root, "health")
        assert "basenam" in status(root, "health", "message"), status(root, "health")

    await rig.hub.eventually(told)


async def test_a_broken_image_is_degraded_at_the_top_and_the_frontend_never_moves(rig: Rig) -> None:
    mark = len(rig.hub.log)
    await rig.commit("Broken", rig.checkout.retagged({"backend": "broken", "frontend": "next"}))

    def told() -> None:
        for cluster in PROD:
            backend = rig.app(f"shop/backend-{cluster}")
            assert status(backend, "health", "state") == "Degraded", status(backend, "health")
            assert "ImagePull" in status(backend, "health", "message")
        shop = rig.set("shop/shop")
        assert status(shop, "health", "state") == "Degraded", status(shop, "health")
        assert status(shop, "health", "counts", "Degraded") == 2
        assert "backend@eu1" in status(shop, "health", "worst")[0]
        root = rig.app(ROOT)
        assert status(root, "health", "state") == "Degraded", status(root, "health")
        assert "backend@eu1" in status(root, "health", "worst")[0]
        assert "ImagePull" in status(root, "health", "worst")[0]
        for cluster in PROD:
            frontend = rig.app(f"shop/frontend-{cluster}")
            assert status(frontend, "sync", "state") == "Blocked"
            (blocked, *_) = status(frontend, "blockedBy")
            assert f"backend@{cluster}" in blocked["root"]
            assert "ImagePull" in blocked["root"]

    await rig.hub.eventually(told)
    await rig.revert()
    await rig.hub.eventually(rig.green)
    for cluster in PROD:
        await rig.spokes[cluster].level()
    moved = {key for key, _ in releases(rig.hub.log[mark:])}
    assert moved == {"shop/backend-eu1", "shop/backend-us1"}, "the frontend never moved"
    for cluster in PROD:
        images = {
            image(change.new)
            for change in rig.spokes[cluster].log
            if change.path == DEPLOYMENTS and change.key == "shop-frontend/frontend" and change.new
        }
        assert images == {"registry.example.com/shop/frontend:1.0.0"}


async def test_a_crash_loop_is_told_by_its_reason(rig: Rig) -> None:
    await rig.commit("Crashes", rig.checkout.retagged({"database": "crashloop"}))

    def told() -> None:
        for cluster in PROD:
            database = rig.app(f"shop/database-{cluster}")
            assert status(database, "health", "state") == "Degraded", status(database, "health")
            assert "CrashLoopBackOff" in status(database, "health", "message")

    await rig.hub.eventually(told)


async def test_a_root_that_does_not_parse_changes_nothing(rig: Rig) -> None:
    specs = {key: obj["spec"] for key, obj in rig.hub.all(SETS).items()}
    await rig.commit("A slip at the root", {"root/shop.yaml": "kind: [\n"})

    def told() -> None:
        stalled = condition(rig.app(ROOT), "Stalled")
        assert stalled["status"] == "True", status(rig.app(ROOT), "conditions")
        assert "shop.yaml: line" in stalled["message"]

    await rig.hub.eventually(told)
    now = {key: obj["spec"] for key, obj in rig.hub.all(SETS).items()}
    assert now == specs


def _targets(rig: Rig, key: str) -> dict[str, tuple[str, ...]]:
    """What each child of a set is to run, was released and runs."""
    names = ("target", "released", "live")
    return {
        child: tuple(status(app, "sync", name) for name in names) for child, app in rig.children(key).items()
    }


def _moved(rig: Rig, key: str) -> bool:
    return bool(status(rig.app(key), "sync", "live") != rig.digests[key])
