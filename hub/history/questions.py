"""What a process of the API asks the controller that leads elsewhere: rows in the database that both have.

An answer is read once, by who asked, and deleted; nothing waits longer than a minute.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, null, select, update

from agent.contract.errors import TransientError
from hub.history.database import DatabaseAway
from hub.history.tables import questions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from hub.history.database import Database

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.3
LONGEST = timedelta(minutes=1)
_AT_ONCE = 4
_SURE_SECONDS = 2.0
"""Two writes within a tick of the file system's clock look like one: so long at most is a question overlooked."""


class NobodyAnswers(TransientError):
    """No controller has answered in time: none leads, or it has too much to do."""

    reason = "NobodyAnswers"


class Questions:
    """`ask` in any process, `serve` in the one that leads. Questions and answers are JSON."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def ask(self, asked: dict[str, Any], *, seconds: float) -> Any:
        """Raises `NobodyAnswers`, `DatabaseAway`."""
        number = secrets.token_hex(16)
        row = {"id": number, "at": self._stamp(), "asked": asked}
        await self._database.run(partial(_put, row=row, old=self._stamp(before=2 * LONGEST)))
        try:
            async with asyncio.timeout(seconds):
                while (found := await self._database.run(partial(_answer, number=number))) is None:
                    await _pause()
        except TimeoutError as error:
            raise NobodyAnswers("no controller has answered in time", retry_after=2.0) from error
        finally:
            await asyncio.shield(self._database.run(partial(_forget, number=number)))
        return found["is"]

    async def serve(self, answer: Callable[[Any], Awaitable[Any]]) -> None:
        """Answer what others ask, until cancelled. `answer` raises nothing."""
        loop = asyncio.get_running_loop()
        touched: object = None
        looked = loop.time()
        while True:
            await _pause()
            now = self._database.touched()
            if now is not None and now == touched and loop.time() - looked < _SURE_SECONDS:
                continue  # a file that nobody wrote to has no questions
            looked = loop.time()
            try:
                waiting = await self._database.run(partial(_waiting, since=self._stamp(before=LONGEST)))
                touched = now if not waiting else None
                found = await asyncio.gather(*(answer(asked) for _, asked in waiting))
                for (number, _), one in zip(waiting, found, strict=True):
                    await self._database.run(partial(_say, number=number, answer={"is": one}))
            except DatabaseAway as error:
                log.warning("questions: %s", error)

    def _stamp(self, *, before: timedelta = timedelta()) -> str:
        return (self._now() - before).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _pause() -> None:
    await asyncio.sleep(LOOK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter


def _put(connection: Connection, *, row: dict[str, Any], old: str) -> None:
    """One more; what a process that ended left behind goes."""
    connection.execute(delete(questions).where(questions.c.at < old))
    connection.execute(insert(questions), [row])


def _answer(connection: Connection, *, number: str) -> Any:
    return connection.execute(select(questions.c.answer).where(questions.c.id == number)).scalar()


def _forget(connection: Connection, *, number: str) -> None:
    connection.execute(delete(questions).where(questions.c.id == number))


def _waiting(connection: Connection, *, since: str) -> list[tuple[str, Any]]:
    """What is asked and not answered, and somebody waits for."""
    there = select(questions.c.id, questions.c.asked).where(
        questions.c.answer.is_(null()), questions.c.at >= since
    )
    rows = connection.execute(there.order_by(questions.c.at).limit(_AT_ONCE)).all()
    return [(row.id, row.asked) for row in rows]


def _say(connection: Connection, *, number: str, answer: Any) -> None:
    connection.execute(update(questions).where(questions.c.id == number).values(answer=answer))
