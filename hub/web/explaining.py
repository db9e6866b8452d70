"""Which layer made a field: asked of the controller that leads, which renders it once more in a worker."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from agent.contract.errors import AxletreeError, TerminalError
from hub.operator import paths
from hub.render.explain import ABSENT, Touch, path_text
from hub.render.explaining import Question
from hub.web import models as m
from hub.web.call import fetched
from hub.web.problems import Busy, Unexplained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.kube.client import RestClient
    from hub.history.questions import Questions
    from hub.web import asked as q
    from hub.web.call import Call

log = logging.getLogger(__name__)

_SECONDS = 50.0


class Explanations:
    """`here` is what this process's controller answers with, while it leads; another process is asked else."""

    def __init__(self, client: RestClient, questions: Questions) -> None:
        self._client = client
        self._questions = questions
        self.here: Callable[[str, Question], Awaitable[list[Touch]]] | None = None

    async def explain(self, call: Call) -> m.Explanation:
        """Raises `NotFound`, `Unexplained`, and `NobodyAnswers` where no controller leads."""
        asked: q.ExplainQuery = call.query
        obj = await fetched(self._client, paths.application(call.key))
        kind, _, name = asked.object.partition("/")
        question = {"app": call.key, **Question(kind, name, asked.field).to_wire()}
        if self.here is not None:
            said = await self.serve(question)
        else:
            said = await self._questions.ask(question, seconds=_SECONDS)
        if "retry" in said:
            raise Busy(said["detail"], retry_after=said["retry"])
        if "reason" in said:
            raise Unexplained(said["detail"], reason=said["reason"])
        return m.Explanation(
            application=call.key,
            cluster=str(obj["spec"]["cluster"]),
            object=asked.object,
            layers=[_layer(Touch.from_wire(each)) for each in said["touches"]],
        )

    async def serve(self, asked: Any) -> dict[str, Any]:
        """The answer of this process's controller, or why there is none, as JSON."""
        ended = {"retry": 2.0, "detail": "the controller has just ended its term"}
        try:
            if self.here is None:
                return ended
            touches = await self.here(str(asked["app"]), Question.from_wire(asked))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return ended  # with its workers
        except TerminalError as error:
            return {"reason": error.reason, "detail": str(error)}
        except (AxletreeError, TimeoutError) as error:
            return {"retry": getattr(error, "retry_after", None) or 2.0, "detail": str(error)}
        except Exception:
            log.exception("an explanation failed")
            return {"reason": "ApiFailed", "detail": "it failed inside"}
        return {"touches": [each.to_wire() for each in touches]}


def _layer(touch: Touch) -> m.Layer:
    added, removed = touch.before is ABSENT, touch.after is ABSENT
    change = m.Change.ADDED if added else m.Change.REMOVED if removed else m.Change.CHANGED
    return m.Layer(
        stage=touch.stage,
        field=path_text(touch.path),
        change=change,
        before=None if added else touch.before,
        after=None if removed else touch.after,
        at=touch.at,
    )
