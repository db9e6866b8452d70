"""Charts in an OCI registry: tags, the manifest, the one layer that is the archive.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md and, for charts,
https://helm.sh/docs/topics/registries/. Every byte is checked against the digest that named it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from hub.sources.errors import ChartInvalid, RepositoryDenied, RepositoryRefused

if TYPE_CHECKING:
    from hub.sources.chartaddress import ChartAddress
    from hub.sources.credentials import Credentials
    from hub.sources.download import Answer, Downloader

CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MAX_JSON = 4 * 1024 * 1024
MAX_PAGES = 100
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_OK, _UNAUTHORIZED = 200, 401


class Registry:
    """One repository of a registry, for one pass of requests: a token is asked for once."""

    def __init__(self, address: ChartAddress, download: Downloader, credentials: Credentials | None) -> None:
        self._address = address
        self._download = download
        self._credentials = credentials
        self._authorization = credentials.header() if credentials else ""

    async def tags(self) -> list[str]:
        """All tags; `+` stands in them as `_`, as Helm writes it."""
        found: list[str] = []
        path = f"/v2/{self._address.repository}/tags/list?n=1000"
        for _ in range(MAX_PAGES):
            answer = await self._get(path, limit=MAX_JSON)
            listed = self._json(answer.body).get("tags")
            found += [str(one).replace("_", "+") for one in listed or ()]
            link = re.match(r"<([^>]+)>\s*;\s*rel=\"?next", answer.headers.get("link", ""))
            if link is None:
                return found
            target = urlsplit(link[1])
            path = f"{target.path}?{target.query}"
            if not path.startswith(f"/v2/{self._address.repository}/"):
                raise ChartInvalid(f"{self._address}: its list of tags leads elsewhere")
        return found

    async def layer_of(self, reference: str) -> str:
        """The digest (hex sha256) of the archive behind a version, or a manifest's own digest."""
        tag = reference.replace("+", "_")
        answer = await self._get(
            f"/v2/{self._address.repository}/manifests/{tag}", limit=MAX_JSON, accept=MANIFEST
        )
        if _DIGEST.fullmatch(reference):
            self._check(answer.body, reference)
        layers = self._json(answer.body).get("layers")
        for layer in layers if isinstance(layers, list) else ():
            if isinstance(layer, dict) and layer.get("mediaType") == CHART_LAYER:
                digest = str(layer.get("digest"))
                if _DIGEST.fullmatch(digest):
                    return digest.removeprefix("sha256:")
        raise ChartInvalid(f"{self._address}:{reference}: it holds no Helm chart")

    async def blob(self, digest: str, *, limit: int) -> bytes:
        """The archive of that digest (hex sha256)."""
        name = f"sha256:{digest}"
        answer = await self._get(f"/v2/{self._address.repository}/blobs/{name}", limit=limit)
        self._check(answer.body, name)
        return answer.body

    def _check(self, body: bytes, digest: str) -> None:
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise ChartInvalid(f"{self._address}: what came does not have the digest {digest[:19]}")

    async def _get(self, path: str, *, limit: int, accept: str = "") -> Answer:
        headers = {"Accept": accept} if accept else {}
        for _ in range(2):
            answer = await self._download.get(
                f"{self._address.base}{path}",
                limit_bytes=limit,
                authorization=self._authorization,
                headers=headers,
            )
            if answer.status == _OK:
                return answer
            if self._authorization.startswith("Bearer "):
                break
            self._authorization = await self._token(answer.headers.get("www-authenticate", ""))
        raise RepositoryDenied(f"{self._address}: it answered 401")

    async def _token(self, challenge: str) -> str:
        """A token from where the registry says. Credentials go there only where it is the registry's own host."""
        if not challenge.lower().startswith("bearer "):
            raise RepositoryDenied(f"{self._address}: it answered 401")
        parts = dict(_CHALLENGE.findall(challenge))
        realm = urlsplit(parts.get("realm", ""))
        own = urlsplit(self._address.base)
        if realm.scheme not in {"https", own.scheme} or not realm.hostname or realm.username is not None:
            raise RepositoryRefused(f"{self._address}: it sends to a place for tokens that is refused")
        query = {"service": parts.get("service", ""), "scope": f"repository:{self._address.repository}:pull"}
        same = (realm.hostname, realm.port) == (own.hostname, own.port)
        answer = await self._download.get(
            f"{realm.scheme}://{realm.netloc}{realm.path}?{urlencode(query)}",
            limit_bytes=MAX_JSON,
            authorization=self._credentials.header() if self._credentials and same else "",
        )
        content = self._json(answer.body) if answer.status == _OK else {}
        token = content.get("token") or content.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise RepositoryDenied(f"{self._address}: it gave no token")
        return f"Bearer {token}"

    def _json(self, body: bytes) -> dict[str, Any]:
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ChartInvalid(f"{self._address}: its answer is no JSON") from error
        if not isinstance(content, dict):
            raise ChartInvalid(f"{self._address}: its answer is no map")
        return content
