"""Which kinds are cluster-scoped: Kubernetes' own, and what a bundle defines by a CRD. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.manifest import GroupKind, group_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.contract.manifest import Manifest

_CLUSTER_SCOPED: Mapping[str, str] = {
    "": "ComponentStatus Namespace Node PersistentVolume",
    "admissionregistration.k8s.io": (
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration "
        "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration"
    ),
    "apiextensions.k8s.io": "CustomResourceDefinition",
    "apiregistration.k8s.io": "APIService",
    "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle",
    "flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
    "internal.apiserver.k8s.io": "StorageVersion",
    "networking.k8s.io": "IngressClass IPAddress ServiceCIDR",
    "node.k8s.io": "RuntimeClass",
    "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding",
    "resource.k8s.io": "DeviceClass DeviceTaintRule ResourceSlice",
    "scheduling.k8s.io": "PriorityClass",
    "storage.k8s.io": "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
    "storagemigration.k8s.io": "StorageVersionMigration",
    "axletree.dev": "Cluster ClusterSet",
}
CLUSTER_SCOPED = frozenset(
    GroupKind(group, kind) for group, kinds in _CLUSTER_SCOPED.items() for kind in kinds.split()
)


def defined_scopes(objects: Iterable[Manifest]) -> dict[GroupKind, bool]:
    """Kinds that the bundle itself defines, and whether they are cluster-scoped."""
    scopes: dict[GroupKind, bool] = {}
    for one in objects:
        if (
            one.get("kind") != "CustomResourceDefinition"
            or group_of(one["apiVersion"]) != "apiextensions.k8s.io"
        ):
            continue
        spec = one.get("spec")
        names = spec.get("names") if isinstance(spec, dict) else None
        if isinstance(spec, dict) and isinstance(names, dict):
            defined = GroupKind(str(spec.get("group", "")), str(names.get("kind", "")))
            scopes[defined] = spec.get("scope") == "Cluster"
    return scopes
