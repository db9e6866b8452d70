"""Helm through its program: where somebody prefers it, and the measure that the SDK is tested against."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hub.render.helmsdk import failure
from hub.render.plain import ManifestError
from hub.render.programs import folder, output_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.render.chart import ChartSource
    from hub.render.programs import Programs

_SOURCE = re.compile(r"^---\n# Source: [^/\n]+/(.+)\n", re.MULTILINE)


class BinaryHelm:
    """`helm template`, once a render."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def template(self, source: ChartSource, values: Mapping[str, Any]) -> dict[str, str]:
        files = {f"chart/{path}": content for path, content in source.files.items()}
        files["values.json"] = json.dumps(values)
        with folder(files, scratch=self._programs.scratch) as top:
            command = [self._programs.helm, "template", source.release, "chart"]
            command += ["--namespace", source.namespace, "--values", "values.json"]
            command += ["--kube-version", source.kube_version]
            command += [f"--api-versions={name}" for name in source.api_versions]
            if not source.skip_crds:
                command.append("--include-crds")
            try:
                text = output_of(command, cwd=top, where=source.where, reason="HelmFailed")
            except ManifestError as error:
                raise failure(source, error.detail) from error
        found: dict[str, str] = {}
        marks = [*_SOURCE.finditer(text)]
        for number, mark in enumerate(marks):
            end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
            body = text[mark.end() : end]
            found[mark[1]] = f"{found[mark[1]]}---\n{body}" if mark[1] in found else body
        return found
