"""Whether a chart may be installed at all: what the program `helm` checks before it renders, and the SDK does not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hub.render.plain import ManifestError
from hub.sources.errors import RevisionRefused
from hub.sources.semver import Range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.render.chart import ChartSource

_SPACED = re.compile(r"([<>=!~^]+)\s+(?=[\dvxX*])")
_BETWEEN = re.compile(r"([^\s,]+)\s+-\s+([^\s,]+)")


def check_installable(source: ChartSource, metadata: Mapping[str, Any]) -> None:
    """Raise `ManifestError` for a library, and for a chart that asks for another Kubernetes than the cluster's.

    `metadata` is `Chart.yaml`. A range that nobody can read asks for nothing.
    """
    if metadata.get("type") == "library":
        raise ManifestError("library charts are not installable", where=source.where, reason="HelmFailed")
    asked = str(metadata.get("kubeVersion") or "").strip()
    if not asked:
        return
    text = _SPACED.sub(r"\1", _BETWEEN.sub(r">=\1 <=\2", asked))
    version = source.kube_version.removeprefix("v")
    try:
        holds = Range.parse(text).best([version]) is not None
    except RevisionRefused:
        return
    if not holds:
        raise ManifestError(
            f"chart requires kubeVersion: {asked} which is incompatible with Kubernetes v{version}",
            where=source.where,
            file="Chart.yaml",
            reason="HelmFailed",
        )
