from __future__ import annotations

from typing import Any

from agent.contract.bundle import ApplyPolicy
from agent.contract.healthrule import HealthRule
from agent.contract.names import HUB_NAMESPACE
from hub.api.application import ApplicationSpec
from hub.api.project import ProjectSpec
from hub.core.model import ClusterView, Fleet
from hub.operator.policy import apply_policy


def rule(name: str) -> dict[str, Any]:
    return {"kind": name, "current": "true"}


def spec(**fields: Any) -> ApplicationSpec:
    return ApplicationSpec.model_validate(
        {"cluster": "eu1", "namespace": "web", "sources": [{"repoURL": "https://h/x"}], **fields}
    )


def project(*names: str) -> ProjectSpec:
    return ProjectSpec.model_validate(
        {"serviceAccount": "web", "healthRules": [rule(name) for name in names]}
    )


def test_health_rules_of_the_app_go_before_its_projects_and_the_hubs() -> None:
    fleet = Fleet(clusters={}, cluster_sets={}, projects={HUB_NAMESPACE: project("C")})
    cluster = ClusterView(name="eu1")
    policy = apply_policy(spec(healthRules=[rule("A")]), project=project("B"), cluster=cluster, fleet=fleet)
    assert policy.health_rules is not None
    assert [each.kind for each in policy.health_rules] == ["A", "B", "C"]
    assert all(isinstance(each, HealthRule) for each in policy.health_rules)


def test_no_rules_are_none() -> None:
    fleet = Fleet(clusters={}, cluster_sets={}, projects={})
    policy = apply_policy(spec(), project=project(), cluster=ClusterView(name="eu1"), fleet=fleet)
    assert policy.health_rules is None


def test_options_and_ignored_differences_go_to_the_agent() -> None:
    sync = {
        "options": ["Replace"],
        "ignoreDifferences": [{"kind": "Deployment", "jsonPointers": ["/spec/replicas"]}],
    }
    fleet = Fleet(clusters={}, cluster_sets={}, projects={})
    policy = apply_policy(spec(sync=sync), project=project(), cluster=ClusterView(name="eu1"), fleet=fleet)
    wire = policy.wire()
    assert wire["options"] == ["Replace"]
    assert ApplyPolicy.model_validate(wire) == policy
    plain = apply_policy(spec(), project=project(), cluster=ClusterView(name="eu1"), fleet=fleet).wire()
    assert not {"options", "ignoreDifferences", "healthRules"} & plain.keys()
