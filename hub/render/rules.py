"""A project's rules over one app: before anything of it is read, and again over its objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.contract.errors import TerminalError
from hub.render.checks import project_violations

if TYPE_CHECKING:
    from hub.api.application import ApplicationSpec
    from hub.api.project import ProjectSpec
    from hub.core.model import ClusterView, Fleet
    from hub.render.checks import ObjectSummary


class ProjectViolation(TerminalError):
    """The app breaks rules of its project; the message lists the first few."""

    reason = "Project"


@dataclass(frozen=True, slots=True)
class Rules:
    """The project's rules over one app."""

    project: ProjectSpec
    namespace: str
    spec: ApplicationSpec
    cluster: ClusterView
    fleet: Fleet | None

    def check(self, summary: ObjectSummary | None) -> None:
        """Raise `ProjectViolation`. Without a summary only what the app itself says is looked at."""
        found = project_violations(
            self.namespace, self.project, self.spec, cluster=self.cluster, fleet=self.fleet, summary=summary
        )
        if found:
            raise ProjectViolation("; ".join(found[:5]))
