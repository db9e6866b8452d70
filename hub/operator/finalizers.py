"""Our finalizer on objects of the hub: the record of what runs outlives `kubectl delete`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.names import FINALIZER

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.operator.objects import Objects
    from hub.operator.writer import Writer


@dataclass(frozen=True, slots=True)
class Finalizers:
    """Adds and takes away, each at the version that was read."""

    writer: Writer

    async def add(self, objects: Objects, path: str, obj: Manifest) -> None:
        if FINALIZER in (obj["metadata"].get("finalizers") or []):
            return
        finalizers = [*(obj["metadata"].get("finalizers") or []), FINALIZER]
        await self._write(objects, path, obj, finalizers)

    async def drop(self, objects: Objects, path: str, obj: Manifest) -> None:
        """From the object as it is now; one that was made again is another."""
        current = await self.writer.get(path)
        if current is None or current["metadata"]["uid"] != obj["metadata"]["uid"]:
            return
        finalizers = [each for each in current["metadata"].get("finalizers") or [] if each != FINALIZER]
        if len(finalizers) != len(current["metadata"].get("finalizers") or []):
            await self._write(objects, path, current, finalizers)

    async def _write(self, objects: Objects, path: str, obj: Manifest, finalizers: list[str]) -> None:
        """At the version that was read: a finalizer that someone else just added must not be lost."""
        version = obj["metadata"]["resourceVersion"]
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": version}}
        await self.writer.merge(objects, path, patch)
