"""One repository in a folder, rendered as the hub does it: through inputs and confined workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.api.application import ApplicationSpec
from hub.core.model import ClusterView
from hub.render.hubvalues import GivenObjects
from hub.render.inputs import Inputs
from hub.sources.directory import LOCAL, DirectorySource

if TYPE_CHECKING:
    from pathlib import Path

    from hub.render.appinputs import AppInputs
    from hub.render.pipeline import RenderRequest, RenderResult
    from hub.render.runner import Runner

REPO = "https://git.example.com/shop/apps"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"


class Desk:
    def __init__(self, top: Path, runner: Runner, objects: list[dict[str, Any]] | None = None) -> None:
        self.top = top
        self.runner = runner
        self.objects: list[dict[str, Any]] = objects or []

    def write(self, name: str, text: str) -> None:
        (self.top / name).parent.mkdir(parents=True, exist_ok=True)
        (self.top / name).write_text(text)

    async def inputs(
        self, *sources: dict[str, Any], cluster: ClusterView | None = None, **spec: Any
    ) -> AppInputs:
        model = ApplicationSpec.model_validate(
            {"cluster": "eu1", "sources": [{"repoURL": REPO, **one} for one in sources], **spec}
        )
        inputs = Inputs(DirectorySource({REPO: self.top}), GivenObjects(self.objects))
        return await inputs.of(
            "shop/web",
            model,
            cluster=cluster or ClusterView("eu1", values={"n": 1}),
            commits=dict.fromkeys(model.origins(), LOCAL),
        )

    async def request(
        self, *sources: dict[str, Any], stages: bool = False, cluster: ClusterView | None = None, **spec: Any
    ) -> RenderRequest:
        return await (await self.inputs(*sources, cluster=cluster, **spec)).request(stages=stages)

    async def render(self, *sources: dict[str, Any], **more: Any) -> RenderResult:
        return await self.runner.render(await self.request(*sources, **more))
