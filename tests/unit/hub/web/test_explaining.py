"""What is said where the one who explains fails, or ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from hub.render.explain import ABSENT, NoSuchField, Touch
from hub.render.failures import RenderTimeout
from hub.sources.errors import RepositoryUnreachable
from hub.web.explaining import Explanations

if TYPE_CHECKING:
    from hub.render.explaining import Question

ASKED = {"app": "shop/web", "kind": "ConfigMap", "name": "c", "field": ".data"}
TOUCH = Touch("files", ("data", "a.b", 0), ABSENT, None, "it.yaml:3")


def explanations(answer: Any) -> Explanations:
    async def here(_key: str, _question: Question) -> list[Touch]:
        if isinstance(answer, BaseException):
            raise answer
        return list(await answer)

    found = Explanations(cast("Any", None), cast("Any", None))
    found.here = here
    return found


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (NoSuchField("no layer has it"), {"reason": "NoSuchField", "detail": "no layer has it"}),
        (RenderTimeout("it took longer"), {"reason": "RenderTimeout", "detail": "it took longer"}),
        (RepositoryUnreachable("away", retry_after=7), {"retry": 7, "detail": "away"}),
        (ZeroDivisionError("in the hub"), {"reason": "ApiFailed", "detail": "it failed inside"}),
    ],
)
async def test_a_failure_is_told_by_what_can_be_done_about_it(
    failure: Exception, said: dict[str, Any]
) -> None:
    assert await explanations(failure).serve(ASKED) == said


async def test_a_term_that_ends_is_no_lost_connection() -> None:
    ended: asyncio.Future[list[Touch]] = asyncio.get_running_loop().create_future()
    ended.cancel()
    assert (await explanations(ended).serve(ASKED))["retry"]
    nobody = explanations(ended)
    nobody.here = None
    assert (await nobody.serve(ASKED))["retry"]
    open_: asyncio.Future[list[Touch]] = asyncio.get_running_loop().create_future()
    asking = asyncio.create_task(explanations(open_).serve(ASKED))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_what_is_told_goes_over_the_wire_and_back() -> None:
    done: asyncio.Future[list[Touch]] = asyncio.get_running_loop().create_future()
    done.set_result([TOUCH])
    (one,) = (await explanations(done).serve(ASKED))["touches"]
    assert Touch.from_wire(one) == TOUCH
