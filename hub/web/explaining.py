"""Which layer made a field: asked of the controller that leads, which renders it once more in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError
from hub.operator import paths
from hub.render.explain import ABSENT, path_text
from hub.render.explaining import Question
from hub.web import models as m
from hub.web.call import fetched
from hub.web.problems import Busy, Unexplained

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.kube.client import RestClient
    from hub.render.explain import Touch
    from hub.web import asked as q
    from hub.web.call import Call

_BUSY_SECONDS = 2.0


class Explanations:
    """`here` is what this process's controller answers with, while it leads."""

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self.here: Callable[[str, Question], Awaitable[list[Touch]]] | None = None

    async def explain(self, call: Call) -> m.Explanation:
        """Raises `NotFound`, `Unexplained`, and `Busy` where no controller leads here."""
        asked: q.ExplainQuery = call.query
        obj = await fetched(self._client, paths.application(call.key))
        if self.here is None:
            raise Busy("the controller that would render it does not run here now", retry_after=_BUSY_SECONDS)
        kind, _, name = asked.object.partition("/")
        try:
            touches = await self.here(call.key, Question(kind, name, asked.field))
        except TerminalError as error:
            raise Unexplained(str(error), reason=error.reason) from error
        return m.Explanation(
            application=call.key,
            cluster=str(obj["spec"]["cluster"]),
            object=asked.object,
            layers=[_layer(each) for each in touches],
        )


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
