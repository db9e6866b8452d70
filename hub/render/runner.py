"""Who runs users' templates: limited workers in the hub, this very process for a person's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hub.core.expand import expand
from hub.core.templating import TemplateEngine
from hub.render.plain import RenderRequest, RenderResult, render

if TYPE_CHECKING:
    from hub.core.expansion import ExpandRequest, Expansion, Needs


class Runner(Protocol):
    async def expand(self, request: ExpandRequest) -> Expansion | Needs: ...

    async def render(self, request: RenderRequest) -> RenderResult: ...


class InlineRunner:
    """Runs in this process, without limits: only for templates of the person who runs it."""

    def __init__(self) -> None:
        self._engine = TemplateEngine()

    async def expand(self, request: ExpandRequest) -> Expansion | Needs:
        return expand(request, engine=self._engine)

    async def render(self, request: RenderRequest) -> RenderResult:
        return render(request, engine=self._engine)
