"""What a rendering is asked by, as hashes: cheaper than its key, which takes reading. Changes at least as often."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.bundle import ApplyPolicy
    from hub.core.model import ClusterView


class Views:
    """A hash over what is known of each cluster, kept while that is the same object: it may list a thousand APIs."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ClusterView, bytes]] = {}

    def of(self, cluster: ClusterView) -> bytes:
        found = self._known.get(cluster.name)
        if found is None or found[0] is not cluster:
            seen = [
                cluster.name,
                cluster.labels,
                cluster.values,
                cluster.kubernetes_version,
                cluster.api_versions,
            ]
            data = orjson.dumps(seen, default=dict, option=orjson.OPT_NON_STR_KEYS)
            found = self._known[cluster.name] = (cluster, hashlib.sha256(data).digest())
        return found[1]


def fingerprint(
    names: list[str],
    parts: tuple[bytes, ...],
    *,
    commits: Mapping[tuple[str, str], str],
    policy: ApplyPolicy,
) -> bytes:
    """A hash over all that a rendering is asked by."""
    asked = "\0".join((*names, *(f"{url} {name} {commit}" for (url, name), commit in commits.items())))
    digest = hashlib.sha256(asked.encode())
    for part in (*parts, policy.model_dump_json().encode()):
        digest.update(b"\0%d\0" % len(part) + part)
    return digest.digest()
