"""What is remembered of what was said about a commit that has no plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hub.history.database import Database
from hub.history.questions import NobodyAnswers, Questions
from hub.web.passing import Passing

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_is_behind_a_plan_is_asked_once_and_what_nobody_can_say_again(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/h.db")
    await database.open()
    asked: list[str] = []
    answers: dict[str, bool | Exception] = {"a": True, "b": False, "c": NobodyAnswers("no controller leads")}

    async def here(key: str, revision: str) -> bool:
        asked.append(f"{key} {revision}")
        found = answers[revision]
        if isinstance(found, Exception):
            raise found
        return found

    passing = Passing(Questions(database, now=lambda: datetime.now(UTC)))
    passing.here = here
    for _ in range(2):
        assert await passing.passed("shop/web", "a", plan={"r@main": "1"})
        assert not await passing.passed("shop/web", "b", plan={"r@main": "1"})
        assert not await passing.passed("shop/web", "c", plan={"r@main": "1"})
    assert asked == ["shop/web a", "shop/web b", "shop/web c", "shop/web c"]
    assert not await passing.passed("shop/web", "b", plan={"r@main": "2"})
    assert asked[-1] == "shop/web b", "another plan may have it behind it"
    passing.here = None
    assert await passing.serve({"set": "shop/web", "revision": "a"}) == {}
    await database.close()
