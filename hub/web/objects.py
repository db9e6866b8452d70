"""Objects of our kinds as they are, page by page: for programs that know them, our own commands first."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from agent.contract.errors import ApiError
from agent.contract.names import API_VERSION
from agent.kube.response import list_items
from hub.operator import paths
from hub.web import models as m
from hub.web.policy import Access
from hub.web.problems import CursorExpired, ParameterInvalid

if TYPE_CHECKING:
    from agent.kube.client import RestClient
    from hub.web import asked as q
    from hub.web.auth import Access as Authority
    from hub.web.call import Call, Handler
    from hub.web.policy import Route

PREFIX = "/objects/"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_BAD, _GONE = 400, 410
_PAGE = 250
_READS = 64
"""Namespaces that one page looks into: whoever sees many small ones turns some pages more."""


class Objects:
    """One handler for every kind: the route says which."""

    def __init__(self, client: RestClient, access: Authority, *, hub_id: str) -> None:
        self._client = client
        self._access = access
        self._hub_id = hub_id

    def table(self, routes: tuple[Route, ...]) -> dict[str, Handler]:
        return {each.name: self.page for each in routes if each.path.startswith(PREFIX)} | {"hub": self.hub}

    async def hub(self, call: Call) -> m.HubInfo:
        """Told to whoever may see anything."""
        return m.HubInfo(id=self._hub_id if call.visible is None or call.visible else "")

    async def page(self, call: Call) -> m.ObjectPage:
        """A page, and a cursor that means the same namespaces in the same order. Raises `ParameterInvalid`."""
        asked: q.ObjectQuery = call.query
        for word in (asked.namespace, asked.name):
            if word and not _NAME.fullmatch(word):
                raise ParameterInvalid("namespace, name: of Kubernetes")
        scopes = await self._scopes(call)
        at, token = _place(asked.cursor, scopes)
        items: list[dict[str, Any]] = []
        for _ in range(_READS):
            if at >= len(scopes) or len(items) >= asked.limit:
                break
            page = await self._read(call, scopes[at], limit=asked.limit - len(items), token=token)
            items += list_items(page, ref=call.route.path)
            token = str((page.get("metadata") or {}).get("continue") or "")
            at += not token
        more = at < len(scopes)
        return m.ObjectPage(items=items, next_cursor=_cursor(scopes[at], token) if more else "")

    async def _scopes(self, call: Call) -> list[str]:
        """The namespaces to read, in order; an empty name is all of them at once."""
        wanted: str = call.query.namespace
        if call.route.access is Access.CLUSTER:
            return [""]
        visible = call.visible
        if call.route.resource == "projects":  # of which there are some where nothing runs
            found = (await self._client.list(paths.PROJECTS)).items
            names = {str(obj["metadata"]["namespace"]) for obj in found}
            visible = await self._access.visible(call.caller, call.route.verb, call.route.resource, names)
        if visible is None:
            return [wanted]
        return [name for name in sorted(visible) if wanted in ("", name)]

    async def _read(self, call: Call, namespace: str, *, limit: int, token: str) -> dict[str, Any]:
        asked: q.ObjectQuery = call.query
        params = {"limit": str(min(limit, _PAGE))}
        params |= {"continue": token} if token else {}
        params |= {"labelSelector": asked.label_selector} if asked.label_selector else {}
        params |= {"fieldSelector": f"metadata.name={asked.name}"} if asked.name else {}
        try:
            return await self._client.get(_path(call.route, namespace), params=params)
        except ApiError as error:
            if error.status == _GONE:
                raise CursorExpired("what came before is too old: begin anew") from error
            if error.status == _BAD:
                raise ParameterInvalid("labelSelector, cursor: the API server does not read them") from error
            raise


def _path(route: Route, namespace: str) -> str:
    plural = route.path.removeprefix(PREFIX)
    if plural == "leases":
        return paths.LEASES
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{API_VERSION}{scope}/{plural}"


def _cursor(namespace: str, token: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([namespace, token]).encode()).decode()


def _place(cursor: str, scopes: list[str]) -> tuple[int, str]:
    """Where to go on. A namespace that is not seen any more is passed over. Raises `ParameterInvalid`."""
    if not cursor:
        return 0, ""
    try:
        namespace, token = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, binascii.Error) as error:
        raise ParameterInvalid("cursor: take it from `nextCursor`") from error
    if not isinstance(namespace, str) or not isinstance(token, str):
        raise ParameterInvalid("cursor: take it from `nextCursor`")
    if namespace in scopes:
        return scopes.index(namespace), token
    return next((at for at, name in enumerate(scopes) if name > namespace), len(scopes)), ""
