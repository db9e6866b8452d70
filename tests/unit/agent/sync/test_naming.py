"""Which object a person means."""

from __future__ import annotations

import pytest

from agent.contract.manifest import ObjectRef
from agent.sync.naming import NoSuchObject, named

WEB = ObjectRef("apps", "Deployment", "shop", "web")
MAP = ObjectRef("", "ConfigMap", "shop", "web")
OTHER = ObjectRef("", "ConfigMap", "cache", "web")
ROLE = ObjectRef("rbac.authorization.k8s.io", "ClusterRole", "", "reader")
INGRESS = ObjectRef("networking.k8s.io", "Ingress", "shop", "web")
REFS = [WEB, MAP, OTHER, ROLE, INGRESS]


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("deployment/web", WEB),
        ("Deployments/web", WEB),
        ("deployment.apps/web", WEB),
        ("Deployment.apps/shop/web", WEB),
        ("configmap/cache/web", OTHER),
        ("clusterrole/reader", ROLE),
        ("ingresses/web", INGRESS),
    ],
)
def test_a_name_means_one_object(text: str, ref: ObjectRef) -> None:
    assert named(text, REFS) == ref


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deployment/wep", "near it: deployment/web"),
        ("deploymnet/web", "near it: deployment/web"),
        ("clusterrole/nothing-like-it", "it has clusterrole/reader"),
        ("configmap/web", "may be any of ConfigMap cache/web, ConfigMap shop/web"),
        ("deployment.extensions/web", "the bundle has no deployment.extensions/web"),
        ("web", "write KIND/NAME"),
        ("deployment/", "write KIND/NAME"),
        ("a/b/c/d", "write KIND/NAME"),
    ],
)
def test_a_name_that_means_none_is_told_with_what_is_near(text: str, said: str) -> None:
    with pytest.raises(NoSuchObject, match=said):
        named(text, REFS)


def test_an_app_without_objects_says_so() -> None:
    with pytest.raises(NoSuchObject, match="nor any other"):
        named("configmap/web", [])
