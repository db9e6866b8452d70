from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from hub.fleet.githttp import GitServer
from hub.fleet.home import cluster_names, kubeconfig_of, kubectl_of
from hub.fleet.local import spokes
from hub.fleet.sample import NAME, PLACEHOLDER, git, make_repository
from hub.fleet.services import Services

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_bare_git_push_from_the_checkout_arrives(tmp_path: Path) -> None:
    repositories, checkout = tmp_path / "git", tmp_path / "fleet"
    repositories.mkdir()
    server = GitServer(repositories)
    await server.start()
    try:
        url = server.url_of(NAME)
        await make_repository(repositories, checkout, url=url)
        (checkout / "new.yaml").write_text("a: 1\n")
        await git("-C", str(checkout), "add", "--all")
        await git("-C", str(checkout), "commit", "--quiet", "--message", "more")
        await git("-C", str(checkout), "push", "--quiet")
        assert await git("-C", str(repositories / NAME), "log", "-1", "--format=%s") == "more"
    finally:
        await server.stop()


async def test_the_repository_names_itself_and_is_made_once(tmp_path: Path) -> None:
    repositories, checkout = tmp_path / "git", tmp_path / "fleet"
    repositories.mkdir()
    await make_repository(repositories, checkout, url="http://127.0.0.1:1/fleet.git")
    text = (checkout / "root" / "shop.yaml").read_text()
    assert PLACEHOLDER not in text
    assert "http://127.0.0.1:1/fleet.git" in text
    first = await git("-C", str(repositories / NAME), "rev-parse", "main")
    (checkout / "mine").write_text("kept")
    await make_repository(repositories, checkout, url="http://127.0.0.1:1/fleet.git")
    assert await git("-C", str(repositories / NAME), "rev-parse", "main") == first
    assert (checkout / "mine").exists()


async def test_a_lost_checkout_is_cloned_again(tmp_path: Path) -> None:
    repositories, checkout = tmp_path / "git", tmp_path / "fleet"
    repositories.mkdir()
    await make_repository(repositories, checkout, url="http://127.0.0.1:1/fleet.git")
    shutil.rmtree(checkout)
    await make_repository(repositories, checkout, url="http://127.0.0.1:1/fleet.git")
    assert (checkout / "hub.yaml").exists()
    assert await git("-C", str(checkout), "remote", "get-url", "origin") == "http://127.0.0.1:1/fleet.git"


def test_ports_are_chosen_once_and_differ(tmp_path: Path) -> None:
    services = Services(tmp_path)
    chosen = services.port("hub"), services.port("git")
    assert chosen[0] != chosen[1]
    assert (Services(tmp_path).port("hub"), Services(tmp_path).port("git")) == chosen


def test_spokes_are_named_by_region_and_keep_their_names_as_the_fleet_grows() -> None:
    assert [spoke.name for spoke in spokes(4)] == ["eu1", "us1", "lab1", "eu2"]
    assert spokes(7)[:3] == spokes(3)
    assert [spoke.labels["env"] for spoke in spokes(3)] == ["prod", "prod", "dev"]


def test_a_folder_without_a_fleet_has_nothing(tmp_path: Path) -> None:
    assert cluster_names(tmp_path) == []
    assert kubeconfig_of(tmp_path) is None
    assert kubectl_of(tmp_path) == "kubectl"
