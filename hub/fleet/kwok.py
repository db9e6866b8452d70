"""What KWOK plays: one fake node, and the life of the pods and volumes on it.

Pods start at once; those that may end (Jobs' and hooks') succeed; an image tagged `broken` never pulls, and
one tagged `crashloop` crashes again and again. Statuses are what a kubelet would write in the same place,
since health rules, people and tests read them. Pure: the caller writes the file.
"""

from __future__ import annotations

from typing import Any

import yaml

from hub.fleet import templates

STORAGE_CLASS = "standard"
CRASH_AGAIN_MS = 20_000

Document = dict[str, Any]

_WAITING = "[.status.initContainerStatuses[]?, .status.containerStatuses[]?] | .[].state.waiting.reason"
_READY = '.status.conditions[]? | select(.type == "Ready") | .status'


def configuration() -> str:
    """KWOK's configuration file, as YAML documents: options first, then every stage."""
    return yaml.safe_dump_all([_options(), *stages()], sort_keys=False, width=1000)


def node(cluster: str) -> Document:
    """Describe the one node of a cluster, with room for whatever a test brings."""
    name = f"{cluster}-node"
    capacity = {"cpu": "1000", "memory": "4Ti", "pods": "10000", "ephemeral-storage": "10Ti"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
            },
        },
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": "10.255.0.1"},
                {"type": "Hostname", "address": name},
            ],
        },
    }


def storage_class() -> Document:
    """Describe the default class, for which KWOK provisions."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": templates.PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def stages() -> list[Document]:
    """All stages. No two of one kind may match at once: KWOK would draw lots."""
    here = _absent(".metadata.deletionTimestamp")
    gone = _present(".metadata.deletionTimestamp")
    claimed = _in(".spec.storageClassName", STORAGE_CLASS)
    return [
        _stage("node-ready", "Node", [_not_in(_READY, "True")], [_status(templates.NODE_STATUS)]),
        _stage(
            "pod-starts",
            "Pod",
            [
                here,
                _in(".status.phase", "Pending"),
                _not_in(_WAITING, "ImagePullBackOff", "CrashLoopBackOff"),
            ],
            [_status(templates.POD_STATUS)],
        ),
        _stage(
            "pod-crashes-again",
            "Pod",
            [here, _in(_WAITING, "CrashLoopBackOff")],
            [_status(templates.POD_STATUS)],
            delay_ms=CRASH_AGAIN_MS,
        ),
        _stage(
            "pod-succeeds",
            "Pod",
            [
                here,
                _in(".status.phase", "Running"),
                _in(".spec.restartPolicy", "Never", "OnFailure"),
                _in(_READY, "True"),
            ],
            [_status(templates.POD_SUCCEEDED)],
        ),
        _stage("pod-ends", "Pod", [gone], [{"delete": True}]),
        _stage(
            "claim-is-provisioned",
            "PersistentVolumeClaim",
            [here, claimed, _absent(".spec.volumeName")],
            [{"apply": {"template": templates.VOLUME}}],
        ),
        _stage(
            "volume-is-reclaimed",
            "PersistentVolume",
            [here, claimed, _in(".status.phase", "Released")],
            [{"delete": True}],
        ),
    ]


def _options() -> Document:
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "metadata": {"name": "kwok"},
        "options": {
            "manageAllNodes": True,
            "cidr": "10.244.0.1/16",
            "nodeIP": "10.255.0.1",
            # No lease of the node: a KWOK that starts again would play nothing until its predecessor's ran out, and
            # what comes before its own is known is passed over for good. Renewals are most of what an idle cluster
            # writes, too.
            # KWOK fills in its own defaults only where there is no such document.
            "nodePlayStageParallelism": 1,
            "podPlayStageParallelism": 8,
            "podsOnNodeSyncParallelism": 1,
            "enablePodsOnNodeSyncStreamWatch": True,
        },
    }


def _stage(
    name: str, kind: str, when: list[Document], steps: list[Document], *, delay_ms: int = 0
) -> Document:
    spec: Document = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": when},
        "steps": steps,
    }
    if delay_ms:
        # Some jitter, or pods that crashed together would go on crashing together.
        spec["delay"] = {"durationMilliseconds": delay_ms, "jitterDurationMilliseconds": delay_ms * 5 // 4}
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": spec,
    }


def _status(template: str) -> Document:
    return {"patch": {"subresource": "status", "root": "status", "template": template}}


def _in(key: str, *values: str) -> Document:
    return {"key": key, "operator": "In", "values": list(values)}


def _not_in(key: str, *values: str) -> Document:
    return {"key": key, "operator": "NotIn", "values": list(values)}


def _present(key: str) -> Document:
    return {"key": key, "operator": "Exists"}


def _absent(key: str) -> Document:
    return {"key": key, "operator": "DoesNotExist"}
