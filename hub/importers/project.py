"""An AppProject of Argo CD as our Project, and its cluster Secrets as Clusters."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from hub.core.clustersets import ANNOTATION_PROJECT, ANNOTATION_SERVER
from hub.core.params import normalize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.importers.application import Clusters
    from hub.importers.notes import Notes

SECRET_TYPE = "argocd.argoproj.io/secret-type"  # noqa: S105 - a label's key
DEFAULT_ACCOUNT = "deployer"
_KNOWN = (
    "sourceRepos",
    "destinations",
    "clusterResourceWhitelist",
    "destinationServiceAccounts",
    "description",
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def project_spec(spec: Mapping[str, Any], notes: Notes, clusters: Clusters) -> dict[str, Any]:
    """The spec of our Project."""
    found: dict[str, Any] = {
        "sourceRepos": _allowed(spec.get("sourceRepos") or [], notes, "spec.sourceRepos"),
        "destinations": _destinations(spec.get("destinations") or [], notes, clusters),
        "serviceAccount": _account(spec.get("destinationServiceAccounts") or [], notes),
    }
    kinds = spec.get("clusterResourceWhitelist") or []
    for at, one in enumerate(kinds):
        notes.lost_keys(one, ("group", "kind"), f"spec.clusterResourceWhitelist[{at}]")
    if kinds:
        found["clusterResources"] = [{"group": one.get("group", ""), "kind": one["kind"]} for one in kinds]
    notes.lost_keys(spec, _KNOWN, "spec")
    return found


def _allowed(globs: list[str], notes: Notes, path: str) -> list[str]:
    for glob in globs:
        if glob.startswith("!"):
            notes.lost(path, f"{glob}: there are no exceptions from what is allowed")
    return ["**" if glob == "*" else glob for glob in globs if not glob.startswith("!")]


def _destinations(items: list[Mapping[str, Any]], notes: Notes, clusters: Clusters) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for at, one in enumerate(items):
        path = f"spec.destinations[{at}]"
        namespace = one.get("namespace") or "*"
        if any(str(value).startswith("!") for value in one.values()):
            notes.lost(path, "there are no exceptions from what is allowed")
            continue
        everywhere = one.get("name") in (None, "", "*") and one.get("server") in (None, "", "*")
        name = "*" if everywhere else clusters.name(one)
        if name is None or "://" in name:
            notes.lost(
                path, f"no Cluster is known at {one.get('server')}; give its Secret, or --server URL=NAME"
            )
            continue
        found.append({"clusters": [name], "namespaces": [namespace]})
    return found


def _account(items: list[Mapping[str, Any]], notes: Notes) -> str:
    accounts = {str(one.get("defaultServiceAccount", "")).rpartition(":")[2] for one in items}
    if len(accounts) == 1:
        return accounts.pop()
    if accounts:
        notes.lost("spec.destinationServiceAccounts", "a Project has one ServiceAccount")
    notes.differs(
        "spec",
        f'writes go as the ServiceAccount "{DEFAULT_ACCOUNT}" of the agent\'s namespace, which must exist there',
    )
    return DEFAULT_ACCOUNT


def is_cluster_secret(obj: Mapping[str, Any]) -> bool:
    labels = (obj.get("metadata") or {}).get("labels") or {}
    return obj.get("kind") == "Secret" and labels.get(SECRET_TYPE) == "cluster"


def cluster(secret: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The Cluster's metadata and spec.

    Credentials are not read: our agents come to the hub by themselves. Accepting them is a person's decision.
    """
    metadata = secret["metadata"]
    name, server = _datum(secret, "name"), _datum(secret, "server")
    annotations = {
        key: one for key, one in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED
    }
    if server:
        annotations[ANNOTATION_SERVER] = server
    project = _datum(secret, "project")
    if project:
        annotations[ANNOTATION_PROJECT] = project
    called = name or server or str(metadata["name"])
    if normalize(called) != called:
        notes.differs("", f'"{called}" is no name here: it is called "{normalize(called)}"')
    return {
        "metadata": {
            "name": normalize(called),
            "labels": dict(metadata.get("labels") or {}),
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {},
    }


def _datum(secret: Mapping[str, Any], key: str) -> str:
    plain = (secret.get("stringData") or {}).get(key)
    if plain is not None:
        return str(plain)
    encoded = (secret.get("data") or {}).get(key)
    if encoded is None:
        return ""
    try:
        return base64.b64decode(str(encoded), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
