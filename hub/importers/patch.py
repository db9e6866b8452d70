"""A `templatePatch` that was written for an Argo CD Application: it says so by its apiVersion.

Its text may hold loops and conditions around any field, so that only what it renders to can be converted. The
import therefore leaves it in Argo CD's form and puts the apiVersion in front; the expansion asks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.core.patch import strategic_merge
from hub.importers.application import Clusters, application_spec, source
from hub.importers.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "argoproj.io/"
_MARK = f"apiVersion: {GROUP}v1alpha1\n"
_METADATA = ("labels", "annotations", "name", "finalizers")


def marked(text: str) -> str:
    """The patch as one for an Argo CD Application. A JSON text has its braces in the way: it becomes YAML's."""
    if text.lstrip().startswith("{") and not text.lstrip().startswith(("{{", "{%", "{#")):
        inner = text.lstrip()[1:]
        return f'{{"apiVersion": "{_MARK.split()[1]}"{"," if inner.strip() != "}" else ""}{inner}'
    return _MARK + text


def is_foreign(patch: Mapping[str, Any]) -> bool:
    return str(patch.get("apiVersion", "")).startswith(GROUP)


def converted(patch: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The rendered patch for our Application, and what of it has no equal.

    `base` is the child before it is patched: `source` patches its only source.
    """
    notes = Notes()
    spec = dict(patch.get("spec") or {})
    one = spec.pop("source", None)
    found = application_spec(spec, notes, Clusters())
    if "syncPolicy" in spec and spec["syncPolicy"] is None:
        found["sync"] = {"mode": "Manual"}
    if one:
        sources = (base.get("spec") or {}).get("sources") or [{}]
        found["sources"] = [
            strategic_merge(sources[0], source(one, notes, path="spec.source")),
            *sources[1:],
        ]
    result: dict[str, Any] = {"spec": found} if found else {}
    metadata = patch.get("metadata") or {}
    if metadata:
        result["metadata"] = {key: metadata[key] for key in _METADATA[:-1] if key in metadata}
        notes.lost_keys(metadata, _METADATA, "metadata")
    notes.lost_keys(patch, ("apiVersion", "kind", "metadata", "spec"), "")
    return result, [f"{note.path}: {note.text}" for note in notes.found if note.lost]
