"""Charts and artifacts in an OCI registry: tags, manifests, the one layer that is the archive, signatures.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, for charts
https://helm.sh/docs/topics/registries/, for artifacts what Flux and ORAS push: one layer, a gzipped tar. Every byte is
checked against the digest that named it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from hub.sources.cosign import ANNOTATION, BUNDLE, CERTIFICATE, LOGGED, SIGNATURE, SIMPLE, Simple
from hub.sources.errors import ArtifactInvalid, ChartInvalid, RepositoryDenied, RepositoryRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hub.sources.chartaddress import ChartAddress
    from hub.sources.credentials import Credentials
    from hub.sources.download import Answer, Downloader
    from hub.sources.errors import SourceError

CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE_LAYER = "application/vnd.cncf.helm.chart.provenance.v1.prov"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
MAX_JSON = 4 * 1024 * 1024
MAX_PAGES = 100
MAX_SIGNATURES = 32
_ARCHIVES = ("tar+gzip", "tar.gzip")
_UNSAID = {"", "application/vnd.oci.empty.v1+json"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_OK, _UNAUTHORIZED = 200, 401


@dataclass(frozen=True, slots=True)
class Manifest:
    """`digest` is its own, with `sha256:`; that of the archive in it is hex alone."""

    digest: str
    archive: str
    chart: bool
    provenance: str = ""


class Registry:
    """One repository of a registry, for one pass of requests: a token is asked for once."""

    def __init__(
        self,
        address: ChartAddress,
        download: Downloader,
        credentials: Callable[[str], Credentials | None],
    ) -> None:
        self._address = address
        self._download = download
        self._credentials = credentials
        self._invalid: type[SourceError] = ChartInvalid if address.chart else ArtifactInvalid
        own = credentials(f"{address.base}/{address.repository}")
        self._own = own
        self._authorization = own.header() if own else ""

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
            try:
                target = urlsplit(link[1])
            except ValueError as error:  # an address that does not read
                raise self._invalid(f"{self._address}: its list of tags leads nowhere") from error
            path = f"{target.path}?{target.query}"
            if not path.startswith(f"/v2/{self._address.repository}/"):
                raise self._invalid(f"{self._address}: its list of tags leads elsewhere")
        return found

    async def manifest(self, reference: str) -> Manifest:
        """What a tag or a digest names."""
        body = await self._manifest(reference)
        content = self._json(body)
        archives = [one for one in _layers(content) if str(one.get("mediaType")).endswith(_ARCHIVES)]
        charts = [one for one in archives if one["mediaType"] == CHART_LAYER]
        if self._address.chart and not charts:
            raise self._invalid(f"{self._address}:{reference}: it holds no Helm chart")
        chosen = charts or archives
        if len(chosen) != 1:
            raise self._invalid(
                f"{self._address}:{reference}: one archive (a layer of tar+gzip) is expected, not {len(chosen)}: "
                "push a folder, not single files"
            )
        provenance = [one for one in _layers(content) if one.get("mediaType") == PROVENANCE_LAYER]
        return Manifest(
            _digest(body),
            self._digest_of(chosen[0]).removeprefix("sha256:"),
            chart=bool(charts),
            provenance=self._digest_of(provenance[0]) if provenance else "",
        )

    async def blob(self, digest: str, *, limit: int) -> bytes:
        """What has that digest (hex, or with `sha256:`)."""
        name = f"sha256:{digest.removeprefix('sha256:')}"
        answer = await self._get(f"/v2/{self._address.repository}/blobs/{name}", limit=limit)
        self._check(answer.body, name)
        return answer.body

    async def simple_signatures(self, digest: str) -> list[Simple]:
        """What cosign put under the manifest's own tag."""
        try:
            content = self._json(await self._manifest(f"{digest.replace(':', '-')}.sig"))
        except RepositoryDenied:  # no such tag
            return []
        return await self._simple(content)

    async def referring(self, digest: str) -> tuple[list[Simple], list[bytes]]:
        """Signatures that refer to the manifest, and Sigstore bundles: by the API for that, or the tag in its place.

        Under that tag, cosign's library says of every bundle that it is of its configuration's kind, which is empty;
        what it is stands in its own manifest.
        """
        try:
            path = f"/v2/{self._address.repository}/referrers/{digest}"
            body = (await self._get(path, limit=MAX_JSON, accept=INDEX)).body
        except RepositoryDenied:
            try:
                body = await self._manifest(digest.replace(":", "-"), accept=INDEX)
            except RepositoryDenied:
                return [], []
        listed = self._json(body).get("manifests")
        named = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        known = [one for one in named if _kind(one).startswith((BUNDLE, SIGNATURE))]
        unsaid = [one for one in named if _kind(one) in _UNSAID]
        simple: list[Simple] = []
        bundles: list[bytes] = []
        for one in [*known, *unsaid][:MAX_SIGNATURES]:
            content = self._json(await self._manifest(self._digest_of(one)))
            simple += await self._simple(content)
            layers = [each for each in _layers(content) if str(each.get("mediaType")).startswith(BUNDLE)]
            bundles += [
                await self.blob(self._digest_of(layer), limit=MAX_JSON) for layer in layers[:MAX_SIGNATURES]
            ]
        return simple, bundles

    async def _simple(self, content: dict[str, Any]) -> list[Simple]:
        """The signed texts among a manifest's layers."""
        found = []
        layers = [one for one in _layers(content) if one.get("mediaType") == SIMPLE]
        for layer in layers[:MAX_SIGNATURES]:
            notes = layer.get("annotations")
            said = (
                {key: text for key, text in notes.items() if isinstance(text, str)}
                if isinstance(notes, dict)
                else {}
            )
            if ANNOTATION in said:
                text = await self.blob(self._digest_of(layer), limit=MAX_JSON)
                beside = (said.get(CERTIFICATE, ""), said.get(LOGGED, ""))
                found.append(Simple(text, said[ANNOTATION], *beside))
        return found

    async def _manifest(self, reference: str, *, accept: str = MANIFEST) -> bytes:
        tag = reference.replace("+", "_")
        path = f"/v2/{self._address.repository}/manifests/{tag}"
        body = (await self._get(path, limit=MAX_JSON, accept=accept)).body
        if _DIGEST.fullmatch(reference):
            self._check(body, reference)
        return body

    def _digest_of(self, entry: dict[str, Any]) -> str:
        digest = str(entry.get("digest"))
        if not _DIGEST.fullmatch(digest):
            raise self._invalid(f"{self._address}: its manifest names no sha256 digest")
        return digest

    def _check(self, body: bytes, digest: str) -> None:
        if _digest(body) != digest:
            raise self._invalid(f"{self._address}: what came does not have the digest {digest[:19]}")

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
            if self._authorization.startswith("Bearer ") and (self._own is None or not self._own.bearer):
                break
            self._authorization = await self._token(answer.headers.get("www-authenticate", ""))
        raise RepositoryDenied(f"{self._address}: it answered 401")

    async def _token(self, challenge: str) -> str:
        """A token from where the registry says.

        Its own credentials go there only where that is its own host; another one gets those that a Secret has for it.
        """
        if not challenge.lower().startswith("bearer "):
            raise RepositoryDenied(f"{self._address}: it answered 401")
        parts = dict(_CHALLENGE.findall(challenge))
        own = urlsplit(self._address.base)
        try:
            realm = urlsplit(parts.get("realm", ""))
            bad = not realm.hostname or realm.port == 0 or realm.username is not None
        except ValueError as error:  # an address that does not read
            raise RepositoryRefused(f"{self._address}: it sends to no place for tokens") from error
        if bad or realm.scheme not in {"https", own.scheme}:
            raise RepositoryRefused(f"{self._address}: it sends to a place for tokens that is refused")
        query = {"service": parts.get("service", ""), "scope": f"repository:{self._address.repository}:pull"}
        where = f"{realm.scheme}://{realm.netloc}{realm.path}"
        same = (realm.hostname, realm.port) == (own.hostname, own.port)
        credentials = self._own if same else self._credentials(where)
        answer = await self._download.get(
            f"{where}?{urlencode(query)}",
            limit_bytes=MAX_JSON,
            authorization=credentials.header() if credentials else "",
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
            raise self._invalid(f"{self._address}: its answer is no JSON") from error
        if not isinstance(content, dict):
            raise self._invalid(f"{self._address}: its answer is no map")
        return content


def _kind(entry: dict[str, Any]) -> str:
    return str(entry.get("artifactType") or "")


def _layers(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    layers = content.get("layers")
    yield from (one for one in layers if isinstance(one, dict)) if isinstance(layers, list) else ()


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
