"""What one Application is made from, once it is known: an identity for it, and how to read it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.render.chart import ChartSource
from hub.render.kustomize import KustomizeTree
from hub.render.pipeline import RenderRequest
from hub.render.sops import DecryptionKeys, is_encrypted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from hub.api.application import ApplicationSpec
    from hub.api.source import Patch
    from hub.core.model import ClusterView
    from hub.render.pipeline import AnySource


@dataclass(frozen=True, slots=True)
class Input:
    """`identity` is JSON that changes with whatever decides the outcome; `read` gives what to render."""

    identity: Any
    read: Callable[[], Awaitable[AnySource]]
    templated: bool = False
    """Whether templates in it see the variables."""


@dataclass(frozen=True, slots=True)
class AppInputs:
    """All of one app's inputs."""

    sources: tuple[Input, ...]
    overlay: Input | None
    spec: ApplicationSpec
    variables: Mapping[str, Any]
    keys: Callable[[], DecryptionKeys] = DecryptionKeys
    """What opens encrypted files, asked where there are any."""

    def identity(self) -> Any:
        templated = any(one.templated for one in self.sources)
        return {
            "sources": [one.identity for one in self.sources],
            "variables": self.variables if templated else None,
            "overlay": self.overlay.identity if self.overlay else None,
            "patches": _patches(self.spec.patches),
            "common": self.spec.common.to_json(),
            **({"setPatches": _patches(self.spec.set_patches)} if self.spec.set_patches else {}),
        }

    async def request(self, *, stages: bool = False) -> RenderRequest:
        """Everything read. Raises `ManifestError` and the errors of `hub.sources`."""
        sources = await asyncio.gather(*(one.read() for one in self.sources))
        overlay = await self.overlay.read() if self.overlay else None
        return RenderRequest(
            tuple(sources),
            self.variables,
            overlay if isinstance(overlay, KustomizeTree) else None,
            _patches(self.spec.patches),
            self.spec.common.to_json(),
            set_patches=_patches(self.spec.set_patches),
            stages=stages,
            keys=self.keys() if any(map(_is_locked, (*sources, overlay))) else DecryptionKeys(),
        )


def _patches(patches: Sequence[Patch]) -> tuple[Any, ...]:
    return tuple(one.to_json() for one in patches)


def _is_locked(source: AnySource | None) -> bool:
    """Whether anything in it is encrypted."""
    match source:
        case None:
            return False
        case ChartSource():
            return any(one.text is not None and is_encrypted(one.text) for one in source.layers)
        case _:
            return any(isinstance(one, str) and is_encrypted(one) for one in source.files.values())


def variables_of(app_key: str, spec: ApplicationSpec, cluster: ClusterView) -> dict[str, Any]:
    """What manifests' templates see. `app.namespace` is where it goes, `app.project` its hub namespace."""
    project, _, name = app_key.partition("/")
    return {
        "cluster": {
            "name": cluster.name,
            "labels": dict(cluster.labels),
            "values": dict(cluster.values),
        },
        "app": {"name": name, "namespace": spec.namespace, "project": project},
    }
