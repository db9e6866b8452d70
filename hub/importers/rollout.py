"""Argo CD's RollingSync as waves. Its steps select Applications by their labels, our waves clusters by theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.importers.notes import Notes

_CLUSTER_LABEL = re.compile(
    r"\{\{-?\s*(?:"
    r"\.?metadata\.labels\.(?P<plain>[\w./-]+)"
    r'|index\s+\.metadata\.labels\s+"(?P<index>[^"]+)"'
    r")\s*-?\}\}"
)


def rollout(strategy: Mapping[str, Any], template: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """`rollout`, or nothing. A step is a wave where its labels are copies of the cluster's own."""
    kind = strategy.get("type") or "AllAtOnce"
    if strategy.get("deletionOrder"):
        notes.differs("spec.strategy.deletionOrder", "left out: deletion runs against the order of the graph")
    if kind != "RollingSync":
        return {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    waves = []
    for at, step in enumerate((strategy.get("rollingSync") or {}).get("steps") or []):
        path = f"spec.strategy.rollingSync.steps[{at}]"
        expressions = [_expression(one, labels) for one in step.get("matchExpressions") or []]
        if not all(expressions):
            notes.lost(path, "it selects by a label of the Applications that is no label of their clusters")
            continue
        wave: dict[str, Any] = {"name": f"step-{at + 1}", "selector": {"matchExpressions": expressions}}
        limit = step.get("maxUpdate")
        if limit in (0, "0", "0%"):
            wave["approval"] = "Manual"
        elif limit is not None:
            wave["maxConcurrent"] = limit
        waves.append(wave)
    return {"waves": waves} if waves else {}


def _expression(value: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any] | None:
    found = _CLUSTER_LABEL.fullmatch(str(labels.get(str(value.get("key")), "")))
    if found is None:
        return None
    operator = value.get("operator") or "In"
    return {
        "key": found["plain"] or found["index"],
        "operator": operator,
        "values": value.get("values") or [],
    }
