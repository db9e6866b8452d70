"""What an API server serves, as charts ask for it: `group/version`, and `group/version/Kind` where it is added.

Of Kubernetes' own groups the versions are enough, since renderers know the kinds. One request of the aggregated
discovery, seldom asked: kinds come and go with operators, not with applications.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

MAX_VERSIONS = 2048
_LONGEST = 256
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_OWN = frozenset(
    f"{name}.k8s.io"
    for name in (
        *("admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization"),
        *("certificates", "coordination", "discovery", "events", "flowcontrol.apiserver"),
        *("internal.apiserver", "networking", "node", "rbac.authorization", "resource", "scheduling"),
        *("storage", "storagemigration"),
    )
)


async def served_versions(client: RestClient) -> tuple[str, ...]:
    """Sorted. Raises `ApiError`, `ApiUnreachable`."""
    found = await client.request("GET", "/apis", accept=_AGGREGATED)
    versions = {"v1"}
    kinds: set[str] = set()
    for group, version, served in _entries(found):
        name = f"{group}/{version}"
        versions.add(name)
        if "." in group and group not in _OWN:
            kinds.update(f"{name}/{kind}" for kind in served)
    everything = versions | kinds
    chosen = everything if len(everything) <= MAX_VERSIONS else versions
    return tuple(sorted(one for one in chosen if len(one) <= _LONGEST)[:MAX_VERSIONS])


def _entries(found: Manifest) -> list[tuple[str, str, list[str]]]:
    """(group, version, kinds); an API server before 1.26 has no kinds there."""
    if "groups" in found:
        return [
            (str(group["name"]), str(version["version"]), [])
            for group in found["groups"] or []
            for version in group.get("versions") or []
        ]
    return [
        (str(group["metadata"]["name"]), str(version["version"]), _kinds(version))
        for group in found.get("items") or []
        for version in group.get("versions") or []
    ]


def _kinds(version: dict[str, Any]) -> list[str]:
    resources = version.get("resources") or []
    return [str(kind) for one in resources if (kind := (one.get("responseKind") or {}).get("kind"))]
