"""The REST client: plain dicts, no typed models; a method for each verb of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.kube.connection import Connection, selection
from agent.kube.encoding import yaml_safe
from agent.kube.response import ApiUnreachable, Listing, WatchEvent, list_items, untyped_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.contract.manifest import Manifest

__all__ = ["ApiUnreachable", "Listing", "RestClient", "WatchEvent"]

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

_GONE = 410


class RestClient(Connection):
    """The verbs over one connection. HTTP failures raise `ApiError`, no answer `ApiUnreachable`."""

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Manifest:
        """Read one object."""
        return await self.request("GET", path, params=params)

    async def list(
        self, path: str, *, label_selector: str = "", field_selector: str = "", limit: int = 500
    ) -> Listing:
        """Read the whole collection, in chunks of `limit`: all of it, or an error, never a part.

        Chunks are one snapshot. Where it expires between them (etcd compacted), the list starts over, in one.
        """
        params = selection(label_selector, field_selector) | {"limit": str(limit)}
        items: list[Manifest] = []
        while True:
            try:
                page = await self.request("GET", path, params=params)
            except ApiError as error:
                if error.status != _GONE or "continue" not in params:
                    raise
                items = []
                del params["continue"], params["limit"]
                continue
            items += list_items(page, ref=f"GET {path}")
            following = page["metadata"].get("continue")
            if not following:
                return Listing(items, page["metadata"]["resourceVersion"])
            params["continue"] = following

    async def create(
        self, path: str, obj: Manifest, *, field_manager: str = "", impersonate: str | None = None
    ) -> Manifest:
        """POST to a collection."""
        params = _manager(field_manager)
        return await self.request("POST", path, params=params, body=obj, impersonate=impersonate)

    async def replace(
        self, path: str, obj: Manifest, *, field_manager: str = "", impersonate: str | None = None
    ) -> Manifest:
        """PUT; a resourceVersion in `obj` is a precondition."""
        params = _manager(field_manager)
        return await self.request("PUT", path, params=params, body=obj, impersonate=impersonate)

    async def apply(
        self,
        path: str,
        obj: Manifest,
        *,
        field_manager: str,
        force: bool = False,
        dry_run: bool = False,
        impersonate: str | None = None,
        validation: str = "Strict",
        subresource: str = "",
    ) -> Manifest:
        """Server-side apply. A conflict is a 409 with the other managers in `details.causes`.

        What does not fit the kind's schema (an unknown field, a list key that stands twice) is a 422, though
        the API server calls it a 500: no repetition would help.
        """
        params = {"fieldManager": field_manager, "fieldValidation": validation}
        if force:
            params["force"] = "true"
        if dry_run:
            params["dryRun"] = "All"
        try:
            return await self.request(
                "PATCH",
                _sub(path, subresource),
                params=params,
                body=yaml_safe(self._dumps(obj)),
                content_type=APPLY_PATCH,
                impersonate=impersonate,
            )
        except ApiError as error:
            raise untyped_error(error) from error.__cause__

    async def merge_patch(
        self,
        path: str,
        patch: Manifest,
        *,
        field_manager: str = "",
        impersonate: str | None = None,
        subresource: str = "",
    ) -> Manifest:
        """RFC 7386: null deletes a key, lists are replaced."""
        return await self.request(
            "PATCH",
            _sub(path, subresource),
            params=_manager(field_manager),
            body=patch,
            content_type=MERGE_PATCH,
            impersonate=impersonate,
        )

    async def json_patch(
        self,
        path: str,
        ops: Sequence[Mapping[str, Any]],
        *,
        field_manager: str = "",
        impersonate: str | None = None,
        subresource: str = "",
    ) -> Manifest:
        """RFC 6902: all operations, in order, or none."""
        return await self.request(
            "PATCH",
            _sub(path, subresource),
            params=_manager(field_manager),
            body=ops,
            content_type=JSON_PATCH,
            impersonate=impersonate,
        )

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        impersonate: str | None = None,
        dry_run: bool = False,
    ) -> Manifest:
        """Ask for deletion; finalizers may hold the object. A precondition that fails is a 409."""
        wanted = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in wanted.items() if value}
        options: dict[str, Any] = {"propagationPolicy": propagation}
        if preconditions:
            options["preconditions"] = preconditions
        if dry_run:
            options["dryRun"] = ["All"]
        return await self.request("DELETE", path, body=options, impersonate=impersonate)


def _manager(field_manager: str) -> dict[str, str] | None:
    return {"fieldManager": field_manager} if field_manager else None


def _sub(path: str, subresource: str) -> str:
    return f"{path}/{subresource}" if subresource else path
