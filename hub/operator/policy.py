"""Which policy an Application is applied under: its own words, its cluster's sets', its project's. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.bundle import ApplyPolicy, DriftPolicy
from agent.contract.names import HUB_NAMESPACE
from hub.core.clustersets import set_contains
from hub.core.plan import parse_duration

if TYPE_CHECKING:
    from agent.contract.healthrule import HealthRule
    from hub.api.application import AppDrift, ApplicationSpec
    from hub.api.cluster import DriftSpec
    from hub.api.project import ProjectSpec
    from hub.core.model import ClusterSetView, ClusterView, Fleet


def apply_policy(
    spec: ApplicationSpec, *, project: ProjectSpec, cluster: ClusterView, fleet: Fleet
) -> ApplyPolicy:
    return ApplyPolicy(
        namespace=spec.namespace,
        create_namespace=spec.sync.create_namespace,
        prune=spec.sync.prune,
        allow_empty=spec.sync.allow_empty,
        service_account=None if project.trusted else project.service_account,
        drift=_drift(spec, cluster, fleet),
        retry_limit=spec.sync.retry.limit,
        options=list(spec.sync.options) or None,
        ignore_differences=list(spec.sync.ignore_differences) or None,
        health_rules=_health_rules(spec, project, fleet) or None,
        outputs=[one for each in spec.outputs if (one := each.rule()) is not None] or None,
        sealed_outputs=[each for rule in spec.outputs if (each := rule.sealed_rule()) is not None] or None,
    )


def _health_rules(spec: ApplicationSpec, project: ProjectSpec, fleet: Fleet) -> list[HealthRule]:
    """The app's own go first, then its Project's, then those of the hub's own Project."""
    general = fleet.projects.get(HUB_NAMESPACE)
    rules = [*spec.health_rules, *project.health_rules]
    if general is not None and general is not project:
        rules += general.health_rules
    return rules


def _drift(spec: ApplicationSpec, cluster: ClusterView, fleet: Fleet) -> DriftPolicy:
    chosen: AppDrift | DriftSpec | None = spec.sync.drift
    if chosen is None:
        sets = [
            view for view in fleet.cluster_sets.values() if view.drift is not None and _holds(view, cluster)
        ]
        if sets:
            chosen = max(sets, key=lambda view: (view.priority, view.name)).drift
    if chosen is None:
        return DriftPolicy()
    return DriftPolicy(
        mode=chosen.mode, alert_after=round(parse_duration(chosen.alert_after).total_seconds())
    )


def _holds(view: ClusterSetView, cluster: ClusterView) -> bool:
    selector = None if view.selector is None else view.selector.to_json()
    return set_contains(selector, view.clusters, name=cluster.name, labels=cluster.labels)
