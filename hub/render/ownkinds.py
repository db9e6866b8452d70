"""The kinds of Kubernetes' own groups, which charts ask for (`policy/v1/PodDisruptionBudget`). Pure.

On a cluster Helm knows every kind that is served; by itself it knows groups and versions alone. A spoke reports the
kinds of what was added to it, and of Kubernetes' own groups the versions: their kinds are the same everywhere, but for
those that came later into a version that was there (named with the first minor release that serves them).
"""

from __future__ import annotations

import re
from functools import lru_cache

_MINOR = re.compile(r"v?1\.(\d+)")
_KINDS: dict[str, str] = {
    "v1": "ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod PodTemplate"
    " ReplicationController ResourceQuota Secret Service ServiceAccount",
    "admissionregistration.k8s.io/v1": "MutatingWebhookConfiguration ValidatingWebhookConfiguration"
    " ValidatingAdmissionPolicy:30 ValidatingAdmissionPolicyBinding:30",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "APIService",
    "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "authentication.k8s.io/v1": "TokenReview SelfSubjectReview:28",
    "authorization.k8s.io/v1": "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview"
    " SubjectAccessReview",
    "autoscaling/v1": "HorizontalPodAutoscaler",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "autoscaling/v2beta1": "HorizontalPodAutoscaler",
    "autoscaling/v2beta2": "HorizontalPodAutoscaler",
    "batch/v1": "Job CronJob:21",
    "batch/v1beta1": "CronJob",
    "certificates.k8s.io/v1": "CertificateSigningRequest",
    "coordination.k8s.io/v1": "Lease",
    "discovery.k8s.io/v1": "EndpointSlice",
    "events.k8s.io/v1": "Event",
    "flowcontrol.apiserver.k8s.io/v1": "FlowSchema PriorityLevelConfiguration",
    "networking.k8s.io/v1": "Ingress:19 IngressClass:19 NetworkPolicy IPAddress:33 ServiceCIDR:33",
    "networking.k8s.io/v1beta1": "Ingress IngressClass",
    "node.k8s.io/v1": "RuntimeClass",
    "policy/v1": "PodDisruptionBudget",
    "policy/v1beta1": "PodDisruptionBudget PodSecurityPolicy",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "scheduling.k8s.io/v1": "PriorityClass",
    "storage.k8s.io/v1": "CSIDriver CSINode StorageClass VolumeAttachment CSIStorageCapacity:24"
    " VolumeAttributesClass:34",
}
_GONE = {"policy/v1beta1/PodSecurityPolicy": 25, "networking.k8s.io/v1beta1/Ingress": 22}
"""The first minor release that serves them no more, where their version may stay."""


@lru_cache(maxsize=64)
def with_kinds(served: tuple[str, ...], version: str) -> tuple[str, ...]:
    """What a spoke reported with the kinds of Kubernetes' own groups; nothing for one that reported nothing.

    `version` is the cluster's, such as `v1.36.3`.
    """
    match = _MINOR.match(version)
    minor = int(match[1]) if match is not None else 0
    found = set(served)
    for name in served:
        for word in _KINDS.get(name, "").split():
            kind, _, since = word.partition(":")
            full = f"{name}/{kind}"
            if int(since or 0) <= minor < _GONE.get(full, minor + 1):
                found.add(full)
    return tuple(sorted(found))
