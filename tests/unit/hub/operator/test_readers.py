"""Projects with credentials of their own see a repository as these show it, and the others as they do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from hub.operator.commits import Commits
from hub.operator.poller import Poller
from hub.sources.errors import RepositoryDenied
from tests.unit.hub.operator.plan_rig import REPOSITORY, Hub

MAIN = f"{REPOSITORY}@main"


@dataclass
class Kept:
    """One repository, which says another commit to each reader, and nothing to nobody."""

    commits: dict[str, str]
    readers: dict[str, str]
    namespace: str = ""
    asked: list[tuple[str, bool]] = field(default_factory=list)

    def seen_by(self, namespace: str) -> Kept:
        return replace(self, namespace=namespace)

    def reader(self, repo_url: str) -> str:
        del repo_url
        return self.readers.get(self.namespace, "")

    async def resolve(self, repo_url: str, revision: str, *, fresh: bool = False) -> str:
        del revision
        reader = self.reader(repo_url)
        self.asked.append((reader, fresh))
        if reader not in self.commits:
            raise RepositoryDenied(f"{repo_url}: it answered 401")
        return self.commits[reader]


def kept() -> Kept:
    return Kept({"a/s": "c1", "b/s": "c1"}, {"shop": "a/s", "web": "a/s", "api": "b/s"})


class Woken:
    def __init__(self) -> None:
        self.sets: set[str] = set()
        self.apps: set[str] = set()

    def ask_set(self, key: str, *, fresh: bool = False) -> None:
        del fresh
        self.sets.add(key)

    def ask_app(self, key: str, *, fresh: bool = False) -> None:
        del fresh
        self.apps.add(key)


async def test_s6_a_pass_knows_for_each_reader_what_that_one_was_told() -> None:
    source = kept()
    commits = Commits(cast("Any", source), fresh=False)
    assert await commits.seen_by("shop").resolve(REPOSITORY, "main") == "c1"
    source.commits |= {"a/s": "c2", "b/s": "c3"}
    assert await commits.seen_by("web").resolve(REPOSITORY, "main") == "c1", "as everybody with that reader"
    assert await commits.seen_by("api").resolve(REPOSITORY, "main") == "c3"
    assert commits.seen_by("web").revisions == {MAIN: "c1"}
    assert commits.seen_by("api").revisions == {MAIN: "c3"}
    with pytest.raises(RepositoryDenied):
        await commits.seen_by("other").resolve(REPOSITORY, "main")
    assert source.asked == [("a/s", False), ("b/s", False), ("", False)]


async def test_a_poll_asks_once_a_reader_and_wakes_those_whose_commit_moved() -> None:
    hub, source, woken = Hub(), kept(), Woken()
    for namespace in ("shop", "web", "api", "other"):
        key = f"{namespace}/apps"
        hub.caches.sets.observe(
            None,
            {
                "metadata": {"namespace": namespace, "name": "apps", "uid": key, "resourceVersion": "1"},
                "spec": {},
            },
        )
        hub.context.state.set(key).revisions = {MAIN: "c1"}
    source.commits["b/s"] = "c2"
    await Poller(replace(hub.context, source=cast("Any", source)), woken).look()
    assert woken.sets == {"api/apps", "other/apps"}, "who is denied is told so by its plan"
    assert sorted(source.asked) == [("", True), ("a/s", True), ("b/s", True)]
