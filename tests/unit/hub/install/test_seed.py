from __future__ import annotations

from typing import Any

import pytest

from agent.contract.names import ANNOTATION_KEEP
from hub.api.application import ApplicationSpec
from hub.api.project import ProjectSpec
from hub.install.seed import AGENT, HUB, ROOT, SeedIncomplete, root_application, seed_of, starter

REPO = "https://git.example.com/fleet.git"


def files(**more: Any) -> list[dict[str, Any]]:
    found = starter(repo=REPO, revision="main", path="hub/", hosts=["hub.example.com"], image="r/hub")
    return [obj for objects in found.values() for obj in objects]


def test_the_files_to_begin_with_are_whole_and_valid() -> None:
    objects = files()
    seed = seed_of(objects, where="it")
    project = ProjectSpec.model_validate(seed.project["spec"], extra="forbid")
    assert project.source_repos == [REPO]
    assert not project.trusted
    for app, path in ((seed.hub, f"hub/charts/{HUB}"), (seed.agent, f"hub/charts/{AGENT}")):
        (source,) = ApplicationSpec.model_validate(app["spec"], extra="forbid").sources
        assert (source.repo_url, source.path) == (REPO, path)
        assert app["metadata"]["annotations"] == {ANNOTATION_KEEP: "true"}
    assert seed.cluster["spec"] == {"accepted": True}
    assert seed.cluster["metadata"]["labels"] == {"axletree.dev/hub": "true"}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SeedIncomplete, match="Project axletree-system/project"):
        seed_of([obj for obj in files() if obj["kind"] != "Project"], where="it")
    with pytest.raises(SeedIncomplete, match=f"{HUB}, the Application axletree-system/{AGENT}"):
        seed_of([obj for obj in files() if obj["kind"] == "Project"], where="it")


def test_an_own_cluster_object_is_taken_and_a_root_of_its_own_is_not() -> None:
    cluster = {"apiVersion": "axletree.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "hub"}}
    assert seed_of([*files(), cluster], where="it").cluster == cluster
    root = root_application(repo=REPO, revision="main", path="")
    assert root["spec"]["sources"][0]["path"] == "."
    with pytest.raises(SeedIncomplete, match=ROOT):
        seed_of([*files(), root], where="it")


def test_the_hub_is_installed_on_its_own_cluster_alone() -> None:
    objects = files()
    (hub,) = (obj for obj in objects if obj["metadata"]["name"] == HUB)
    hub["spec"]["cluster"] = "eu1"
    with pytest.raises(SeedIncomplete, match="not for the cluster hub"):
        seed_of(objects, where="it")
