"""In which order objects come and go: pure."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

from agent.contract.manifest import GroupKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")


class Stage(IntEnum):
    """A stage starts when the one before it is done; inside one, objects are applied at the same time."""

    NAMESPACES = 0
    DEFINITIONS = 1
    FOUNDATIONS = 2
    """What workloads refer to when they start: accounts, rights, configuration, storage, services."""
    WORKLOADS = 3
    """Everything else, custom resources among it."""
    INTERCEPTORS = 4
    """Webhooks and aggregated APIs: they call Services whose Pods have to be there first."""


_FOUNDATIONS = {
    "": (
        "ConfigMap LimitRange PersistentVolume PersistentVolumeClaim ResourceQuota Secret Service "
        "ServiceAccount"
    ),
    "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "storage.k8s.io": "StorageClass CSIDriver VolumeAttributesClass",
    "scheduling.k8s.io": "PriorityClass",
    "node.k8s.io": "RuntimeClass",
    "networking.k8s.io": "IngressClass NetworkPolicy",
    "policy": "PodDisruptionBudget",
}
_STAGES = {
    GroupKind("", "Namespace"): Stage.NAMESPACES,
    GroupKind("apiextensions.k8s.io", "CustomResourceDefinition"): Stage.DEFINITIONS,
    **{
        GroupKind(group, kind): Stage.FOUNDATIONS
        for group, kinds in _FOUNDATIONS.items()
        for kind in kinds.split()
    },
    GroupKind("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): Stage.INTERCEPTORS,
    GroupKind("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): Stage.INTERCEPTORS,
    GroupKind("apiregistration.k8s.io", "APIService"): Stage.INTERCEPTORS,
}


def stage_of(kind: GroupKind) -> Stage:
    return _STAGES.get(kind, Stage.WORKLOADS)


def stages(items: Iterable[_T], *, kind: Callable[[_T], GroupKind]) -> list[tuple[Stage, list[_T]]]:
    """Group by stage, in order, keeping the given order inside; empty stages are left out."""
    groups: dict[Stage, list[_T]] = {}
    for item in items:
        groups.setdefault(stage_of(kind(item)), []).append(item)
    return sorted(groups.items(), key=lambda group: group[0])


def deletion_levels(items: Iterable[_T], *, kind: Callable[[_T], GroupKind]) -> list[list[_T]]:
    """In which order to delete: interceptors first, so that they stop nobody, namespaces last.

    Custom resources go before the other workloads: the controller that holds their finalizers may be among
    those.
    """
    levels: dict[tuple[int, bool], list[_T]] = {}
    for item in items:
        stage = stage_of(kind(item))
        custom = stage is Stage.WORKLOADS and not built_in(kind(item).group)
        levels.setdefault((stage, custom), []).append(item)
    return [levels[level] for level in sorted(levels, reverse=True)]


def built_in(group: str) -> bool:
    """Whether the group is one of Kubernetes itself."""
    return "." not in group or group.endswith(".k8s.io")
