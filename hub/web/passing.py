"""Whether a commit that has no plan is behind the one that has: asked of the controller, which has the history.

Who pushes twice within one fetch waits for a first commit that nobody will ever plan.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from agent.contract.errors import AxletreeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hub.history.questions import Questions

log = logging.getLogger(__name__)

_SECONDS = 5.0
_KEPT = 4096


class Passing:
    """`here` is what this process's controller answers with, while it leads; another process is asked else."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._known: OrderedDict[tuple[object, ...], bool] = OrderedDict()
        self.here: Callable[[str, str], Awaitable[bool]] | None = None

    async def passed(self, key: str, revision: str, *, plan: Mapping[str, str]) -> bool:
        """Whether the revision is behind what the set's `plan` reads; false also where nobody can say.

        What was said holds for as long as the plan reads the same commits.
        """
        asked = (key, revision, *sorted(plan.items()))
        known = self._known.get(asked)
        if known is not None:
            return known
        question = {"set": key, "revision": revision}
        try:
            said = (
                await self.serve(question)
                if self.here is not None
                else await self._questions.ask(question, seconds=_SECONDS)
            )
        except AxletreeError as error:
            log.debug("whether %s is behind %s: %s", revision, key, error)
            return False
        if "passed" not in said:
            return False
        self._known[asked] = bool(said["passed"])
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return self._known[asked]

    async def serve(self, asked: Any) -> dict[str, Any]:
        """The answer of this process's controller; empty where it has none."""
        if self.here is None:
            return {}
        try:
            return {"passed": await self.here(str(asked["set"]), str(asked["revision"]))}
        except (AxletreeError, TimeoutError, OSError) as error:
            log.info("whether a commit is behind the plan of %s: %s", asked["set"], error)
            return {}
        except Exception:
            log.exception("what is behind a plan could not be told")
            return {}
