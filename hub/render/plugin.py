"""A command that the hub's administrator registered: it is run over a source's files, and prints objects.

It runs where everything of users runs: no network, its own scratch folder, limits on time, memory and output. What it
leaves running sees no other rendering's folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.render.plain import ManifestError, parsed
from hub.render.programs import folder, output_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest
    from hub.render.content import Content
    from hub.render.programs import Programs


@dataclass(frozen=True, slots=True)
class PluginTree:
    """The source's files, the command's name, and its parameters."""

    where: str
    files: Content
    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        return {
            "tool": "plugin",
            "where": self.where,
            "files": self.files,
            "name": self.name,
            "parameters": self.parameters,
        }

    @staticmethod
    def from_wire(data: Mapping[str, Any]) -> PluginTree:
        return PluginTree(**{key: value for key, value in data.items() if key != "tool"})


def printed(tree: PluginTree, variables: Mapping[str, Any], programs: Programs) -> list[Manifest]:
    """What the command prints. It finds its input as JSON in AXLETREE_CONTEXT. Raises `ManifestError`."""
    command = programs.plugins.get(tree.name)
    if command is None:
        known = ", ".join(sorted(programs.plugins)) or "none"
        raise ManifestError(
            f"no plugin {tree.name} is registered on this hub; there are: {known}",
            where=tree.where,
            reason="UnknownPlugin",
        )
    context = {**variables, "parameters": tree.parameters}
    environment = {
        "AXLETREE_CONTEXT": json.dumps(context, sort_keys=True, default=dict),
        "PATH": "/usr/bin:/bin",
    }
    environment |= {f"PARAM_{name}": value for name, value in tree.parameters.items()}
    with folder(tree.files, scratch=programs.scratch) as top:
        text = output_of(
            command,
            cwd=top,
            where=tree.where,
            reason="PluginFailed",
            environment=environment,
            alone=programs.read(),
        )
    return parsed(text, where=tree.where, file=f"plugin {tree.name}", rendered=True)
