from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hub.api.project import ProjectSpec
from hub.core.expansion import GeneratorError, InvalidChild, RepositoryNotAllowed
from hub.core.model import ClusterView, Fleet
from hub.render.expansion import expand_set
from hub.render.runner import InlineRunner
from hub.sources.directory import DirectorySource

if TYPE_CHECKING:
    from pathlib import Path

REPO = "https://git.example.com/shop/apps"
FLEET = Fleet(clusters={name: ClusterView(name) for name in ("eu1", "eu2")})


def spec(**git: Any) -> dict[str, Any]:
    return {
        "generators": [
            {"matrix": {"generators": [{"clusters": {}}, {"git": {"repoURL": REPO, **git}}]}},
        ],
        "template": {
            "metadata": {"name": "{{ path.basename }}-{{ cluster.name }}"},
            "spec": {
                "cluster": "{{ cluster.name }}",
                "sources": [{"repoURL": REPO, "path": "{{ path.path }}"}],
                "sync": {"prune": "{{ prune | default(true) }}"},
            },
        },
    }


@pytest.fixture
def source(tmp_path: Path) -> DirectorySource:
    for name, text in (
        ("apps/a/app.json", '{"prune": false}'),
        ("apps/b/app.json", "{}"),
        ("bad/x.json", "[1]"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return DirectorySource({REPO: tmp_path})


async def test_reads_until_it_knows_enough(source: DirectorySource) -> None:
    result = await expand_set(
        "shop",
        "apps",
        spec(files=[{"path": "apps/*/app.json"}]),
        fleet=FLEET,
        source=source,
        runner=InlineRunner(),
    )
    assert [(child.name, child.manifest["spec"]["sync"]) for child in result.children] == [
        ("a-eu1", {"prune": False}),
        ("b-eu1", {"prune": True}),
        ("a-eu2", {"prune": False}),
        ("b-eu2", {"prune": True}),
    ]
    assert result.revisions == {f"{REPO}@HEAD": "local"}


async def test_errors_pass_and_children_are_validated(source: DirectorySource) -> None:
    async def expand(asked: dict[str, Any], fleet: Fleet = FLEET) -> None:
        await expand_set("shop", "apps", asked, fleet=fleet, source=source, runner=InlineRunner())

    with pytest.raises(GeneratorError, match=r"bad/x.json: its content is no map"):
        await expand(spec(files=[{"path": "bad/*"}]))
    wrong = spec(directories=[{"path": "apps/*"}])
    wrong["template"]["spec"]["dependson"] = []
    with pytest.raises(InvalidChild, match=r'did you mean "dependsOn"'):
        await expand(wrong)
    project = ProjectSpec.model_validate({"sourceRepos": ["https://other/*"], "serviceAccount": "x"})
    with pytest.raises(RepositoryNotAllowed, match="set shop/apps: repository"):
        await expand(
            spec(directories=[{"path": "*"}]), Fleet(clusters=FLEET.clusters, projects={"shop": project})
        )
