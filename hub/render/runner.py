"""Who runs users' templates: limited workers in the hub, this very process for a person's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hub.core.expand import expand
from hub.render.pipeline import RenderRequest, RenderResult, Tools, render, render_sealed

if TYPE_CHECKING:
    from hub.core.expansion import ExpandRequest, Expansion
    from hub.core.needs import Needs
    from hub.render.programs import Programs
    from hub.render.seal import SealedResult, Sealing


class Runner(Protocol):
    async def expand(self, request: ExpandRequest) -> Expansion | Needs: ...

    async def render(self, request: RenderRequest) -> RenderResult: ...

    async def render_sealed(self, request: RenderRequest, sealing: Sealing) -> SealedResult: ...


class InlineRunner:
    """Runs in this process, without limits: only for templates of the person who runs it."""

    def __init__(self, programs: Programs | None = None) -> None:
        self._tools = Tools(programs)

    async def expand(self, request: ExpandRequest) -> Expansion | Needs:
        return expand(request, engine=self._tools.engine)

    async def render(self, request: RenderRequest) -> RenderResult:
        return render(request, self._tools)

    async def render_sealed(self, request: RenderRequest, sealing: Sealing) -> SealedResult:
        return render_sealed(request, sealing, self._tools)
