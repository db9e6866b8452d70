from __future__ import annotations

from typing import Any

import pytest

from hub.api.application import ApplicationSpec
from hub.api.project import ProjectSpec
from hub.core.model import ClusterSetView, ClusterView, Fleet
from hub.render.checks import check_objects, has_secrets, project_violations, summary_of
from hub.render.plain import ManifestError

REPO = "https://git.example.com/shop/apps"


def obj(api: str, kind: str, name: str = "a", namespace: str | None = None, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def annotated(key: str, words: str) -> dict[str, Any]:
    annotations = {f"axletree.dev/{key}": words, "argocd.argoproj.io/hook": "Skip", "helm.sh/hook": "test"}
    made = obj("batch/v1", "Job")
    return {**made, "metadata": {**made["metadata"], "annotations": annotations}}


CRD = obj(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "zones.x.dev",
    spec={"group": "x.dev", "scope": "Cluster", "names": {"kind": "Zone"}},
)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (
            [obj("v1", "ConfigMap"), obj("v1", "ConfigMap", namespace="shop")],
            "ConfigMap shop/a: it is there twice",
        ),
        ([obj("apps/v1", "Deployment"), obj("apps/v1beta1", "Deployment")], "it is there twice"),
        ([obj("v1", "Namespace", namespace="x")], "cluster-scoped and cannot have a namespace"),
        ([CRD, obj("x.dev/v1", "Zone", namespace="x")], "cluster-scoped and cannot have a namespace"),
        ([obj("v1", "ConfigMap", data={"x": "y" * 1024 * 1024})], "an API server takes 1048576"),
        ([obj("v1", "ConfigMap", str(at)) for at in range(5001)], "5001 objects"),
        ([annotated("sync-options", "Recreate, IfNotPresnt")], "knows no 'IfNotPresnt', only "),
        ([annotated("sync-options", "Replace=true")], "knows no 'Replace=true', only"),
        ([annotated("hook", "Presync")], "axletree.dev/hook knows no 'Presync', only PreSync, PostSync"),
        ([annotated("hook-delete-policy", "Succeeded")], "only BeforeHookCreation, HookSucceeded"),
    ],
)
def test_a7_what_no_agent_could_apply(objects: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        check_objects(objects, namespace="shop", where="repo")


def test_words_that_mean_something_pass() -> None:
    """Of Argo CD's and Helm's, what we have nothing like may stand there, too."""
    given = {
        "sync-options": "Replace, Recreate,",
        "hook": "PreSync,PostSync",
        "hook-delete-policy": "hook-failed",
    }
    check_objects(
        [
            {**made, "metadata": {**made["metadata"], "name": key}}
            for key, words in given.items()
            for made in [annotated(key, words)]
        ],
        namespace="shop",
        where="repo",
    )


def test_same_name_in_other_places_is_fine() -> None:
    check_objects(
        [
            obj("v1", "ConfigMap"),
            obj("v1", "Secret"),
            obj("v1", "ConfigMap", namespace="b"),
            obj("v1", "Namespace"),
        ],
        namespace="shop",
        where="repo",
    )


def test_secrets_with_values_only() -> None:
    assert not has_secrets([obj("v1", "Secret"), obj("x.dev/v1", "Secret", data={"a": "b"})])
    assert has_secrets([obj("v1", "Secret", stringData={"a": "b"})])


FLEET = Fleet(cluster_sets={"prod": ClusterSetView("prod", clusters=("eu1", "hub"))})


def violations(
    objects: list[dict[str, Any]] | None = None,
    *,
    cluster: str = "eu1",
    namespace: str = "shop-web",
    **project: Any,
) -> list[str]:
    rules = {
        "sourceRepos": ["https://git.example.com/shop/*"],
        "destinations": [{"clusterSet": "prod", "namespaces": ["shop-*"]}],
        "serviceAccount": "deployer",
    }
    spec = ApplicationSpec.model_validate(
        {"cluster": cluster, "namespace": namespace, "sources": [{"repoURL": REPO}]}
    )
    return project_violations(
        "shop",
        ProjectSpec.model_validate(rules | project),
        spec,
        cluster=ClusterView(cluster),
        fleet=FLEET,
        summary=None if objects is None else summary_of(objects),
    )


def test_s11_projects_bound_repository_destination_and_kinds() -> None:
    assert violations() == []
    assert violations(sourceRepos=["https://git.example.com/other/*"]) == [
        f"repository {REPO} is not among the project's sourceRepos"
    ]
    assert violations(cluster="us1") == ["cluster us1 is not among the project's destinations"]
    assert violations(namespace="kube-system") == [
        "namespace kube-system on cluster eu1 is not among the project's destinations"
    ]
    assert violations([obj("v1", "ConfigMap", namespace="kube-system"), obj("v1", "ConfigMap")]) == [
        "namespace kube-system on cluster eu1 is not among the project's destinations"
    ]
    assert violations([CRD, obj("x.dev/v1", "Zone")]) == [
        f"cluster-scoped kind {kind} is not among the project's clusterResources"
        for kind in ("CustomResourceDefinition.apiextensions.k8s.io", "Zone.x.dev")
    ]
    allowed = [{"group": "*", "kind": "CustomResourceDefinition"}, {"group": "x.dev", "kind": "*"}]
    assert violations([CRD, obj("x.dev/v1", "Zone")], clusterResources=allowed) == []
    assert violations(trusted=True, serviceAccount=None) == [
        "a trusted project is allowed in axletree-system only"
    ]


def test_s11_the_hub_is_no_destination_by_accident() -> None:
    everywhere = [{"clusters": ["*"], "namespaces": ["*"]}]
    assert violations(cluster="us1", destinations=everywhere) == []
    assert violations(cluster="hub", destinations=everywhere) != []
    assert violations(cluster="hub", destinations=[{"clusters": ["hub"], "namespaces": ["*"]}]) == []
    assert violations(cluster="hub") == []
