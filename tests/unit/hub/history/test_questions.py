from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from hub.history.database import Database
from hub.history.questions import NobodyAnswers, Questions
from hub.history.tables import questions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{folder}/history.sqlite")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def test_what_one_process_asks_another_answers_and_nothing_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        asking, serving = (Questions(each, now=lambda: datetime.now(UTC)) for each in (one, other))
        heard: list[Any] = []

        async def answer(asked: Any) -> Any:
            heard.append(asked)
            return {"twice": asked["number"] * 2}

        task = asyncio.create_task(serving.serve(answer))
        found = await asyncio.gather(*(asking.ask({"number": number}, seconds=30) for number in range(7)))
        task.cancel()
        assert found == [{"twice": number * 2} for number in range(7)]
        assert sorted(each["number"] for each in heard) == list(range(7)), "each once"
        with pytest.raises(NobodyAnswers):
            await asking.ask({"number": 1}, seconds=0.1)
        assert await one.run(lambda it: it.execute(select(func.count()).select_from(questions)).scalar()) == 0


class Still(Database):
    """On a file system whose clock does not tick between two writes."""

    looks = 0

    def touched(self) -> object:
        self.looks += 1
        return "a moment"


async def test_a_question_that_is_written_within_a_tick_of_the_clock_is_answered(tmp_path: Path) -> None:
    database = Still(f"sqlite:///{tmp_path}/history.sqlite")
    await database.open()
    asking = Questions(database, now=lambda: datetime.now(UTC))

    async def answer(asked: Any) -> Any:
        return asked["number"]

    task = asyncio.create_task(asking.serve(answer))
    async with asyncio.timeout(60):
        while database.looks < 2:  # noqa: ASYNC110 - so it has found once that nothing was asked
            await asyncio.sleep(0.02)
    assert await asking.ask({"number": 1}, seconds=60) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await database.close()
