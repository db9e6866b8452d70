"""What of the hub's own cluster generators read: Secrets with tokens, ConfigMaps, other controllers' decisions."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Protocol

from agent.contract.errors import ApiError
from agent.contract.names import LABEL_CREDENTIALS
from agent.kube.selectors import parse_selector
from hub.hosts.errors import HostMisconfigured, HostUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient

LABELLED = "generator"
"""The value of the label `axletree.dev/credentials` without which no generator reads a Secret."""
_NOT_FOUND = 404


class Objects(Protocol):
    """Objects of one namespace, as they are now."""

    async def secret(self, namespace: str, name: str) -> Manifest | None: ...

    async def config_map(self, namespace: str, name: str) -> Manifest | None: ...

    async def decisions(
        self,
        namespace: str,
        resource: str,
        *,
        api_version: str,
        selector: Mapping[str, Any] | None,
        name: str,
    ) -> list[Manifest]:
        """Objects of a kind (or its plural), by name or by labels."""
        ...


class FileObjects:
    """Objects that stand in a person's own files: a Secret needs no label there, and any namespace will do."""

    def __init__(self, objects: Iterable[Manifest]) -> None:
        self._objects = list(objects)

    async def secret(self, namespace: str, name: str) -> Manifest | None:
        found = self._one("Secret", namespace, name)
        if found is None:
            return None
        labels = {**(found["metadata"].get("labels") or {}), LABEL_CREDENTIALS: LABELLED}
        return {**found, "metadata": {**found["metadata"], "labels": labels}}

    async def config_map(self, namespace: str, name: str) -> Manifest | None:
        return self._one("ConfigMap", namespace, name)

    async def decisions(
        self,
        namespace: str,  # noqa: ARG002 - the port's method
        resource: str,
        *,
        api_version: str,
        selector: Mapping[str, Any] | None,
        name: str,
    ) -> list[Manifest]:
        kinds = {resource.lower(), resource.lower().removesuffix("s")}
        found = [
            obj
            for obj in self._objects
            if obj.get("apiVersion") == api_version and str(obj.get("kind", "")).lower() in kinds
        ]
        return _chosen(found, selector, name)

    def _one(self, kind: str, namespace: str, name: str) -> Manifest | None:
        found = [one for one in self._objects if one.get("kind") == kind and one["metadata"]["name"] == name]
        same = [one for one in found if one["metadata"].get("namespace") == namespace]
        return next(iter([*same, *found]), None)


class KubeObjects:
    """Objects of the hub's cluster; labelled Secrets come from the controller's cache."""

    def __init__(self, client: RestClient, secret: Callable[[str], Manifest | None]) -> None:
        self._client = client
        self._secret = secret

    async def secret(self, namespace: str, name: str) -> Manifest | None:
        return self._secret(f"{namespace}/{name}")

    async def config_map(self, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._client.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise HostUnreachable(f"ConfigMap {namespace}/{name}: {error.reason}") from error

    async def decisions(
        self,
        namespace: str,
        resource: str,
        *,
        api_version: str,
        selector: Mapping[str, Any] | None,
        name: str,
    ) -> list[Manifest]:
        plural = resource if resource.islower() else f"{resource.lower()}s"
        path = f"/apis/{api_version}/namespaces/{namespace}/{plural}"
        try:
            found = (await self._client.list(path)).items
        except ApiError as error:
            raise HostUnreachable(f"{plural} of {namespace}: {error.reason}") from error
        return _chosen(found, selector, name)


def _chosen(found: list[Manifest], selector: Mapping[str, Any] | None, name: str) -> list[Manifest]:
    wanted = parse_selector(selector) if selector else None
    return sorted(
        (
            obj
            for obj in found
            if (not name or obj["metadata"]["name"] == name)
            and (wanted is None or wanted.matches(obj["metadata"].get("labels") or {}))
        ),
        key=lambda obj: str(obj["metadata"]["name"]),
    )


async def token(objects: Objects, namespace: str, ref: Mapping[str, Any] | None) -> str:
    """The text of a Secret's key; nothing where no Secret is named. Raises `HostMisconfigured`."""
    if not ref:
        return ""
    name, key = str(ref.get("secretName", "")), str(ref.get("key") or "token")
    secret = await objects.secret(namespace, name)
    labels = (secret or {}).get("metadata", {}).get("labels") or {}
    if secret is None or labels.get(LABEL_CREDENTIALS) != LABELLED:
        raise HostMisconfigured(
            f"there is no Secret {namespace}/{name} with the label {LABEL_CREDENTIALS}: {LABELLED}"
        )
    plain = (secret.get("stringData") or {}).get(key)
    if isinstance(plain, str):
        return plain.strip()
    try:
        return base64.b64decode(secret.get("data", {})[key], validate=True).decode().strip()
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
        # the decoder's own messages quote the bytes, which are secret
        raise HostMisconfigured(f"Secret {namespace}/{name} has no readable key {key}") from None
