"""Whether a deletion was meant: a deletionTimestamp alone is nobody's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.names import GROUP
from hub.operator import paths

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from hub.operator.writer import Writer


async def not_meant(writer: Writer, obj: Manifest, plural: str) -> str:
    """Why this deletionTimestamp is nobody's decision about this object; empty where it is one.

    Live reads: a cache could show the moment before the namespace began to terminate.
    """
    namespace = obj["metadata"].get("namespace")
    if namespace:
        parent = await writer.get(f"{paths.NAMESPACES}/{namespace}")
        if parent is None or "deletionTimestamp" in parent["metadata"]:
            return f"namespace {namespace} is terminating: nothing that runs is deleted for that"
    crd = await writer.get(f"{paths.CRDS}/{plural}.{GROUP}")
    if crd is None or "deletionTimestamp" in crd["metadata"]:
        return f"the CRD {plural}.{GROUP} is terminating: nothing that runs is deleted for that"
    return ""
