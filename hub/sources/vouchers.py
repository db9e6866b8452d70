"""Who vouches for an archive: cosign's signatures in its registry, a provenance beside it or in its manifest."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hub.sources.cosign import bundle_is_good, public_keys, simple_is_good
from hub.sources.errors import RepositoryDenied, SignatureMissing, SignatureUntrusted
from hub.sources.provenance import MAX_PROVENANCE, check_provenance
from hub.sources.registry import Registry
from hub.sources.signing import TrustedKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hub.sources.chartaddress import ChartAddress
    from hub.sources.cosign import Simple
    from hub.sources.credentials import Credentials
    from hub.sources.download import Downloader
    from hub.sources.kept import KeptArchives, Origin
    from hub.sources.signing import Trusted

REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the name under which answers are kept, and the credentials that go with it."""

    name: str
    match: Callable[[str], Credentials | None]

    def calls(self, address: object) -> str:
        """The name of what is at an address, as this reader sees it."""
        return f"{self.name} {address}".lstrip()

    def authorization(self, url: str) -> str:
        found = self.match(url)
        return found.header() if found else ""


@dataclass(frozen=True, slots=True)
class Found:
    """An archive by its digest, as found at an address."""

    address: ChartAddress
    digest: str
    reader: Reader

    def __str__(self) -> str:
        return f"{self.address}: archive {self.digest[:12]}"


class Vouchers:
    """Asks for signatures and remembers what was good."""

    def __init__(self, kept: KeptArchives, download: Downloader) -> None:
        self._kept = kept
        self._download = download
        self._good: set[tuple[str, str, str]] = set()

    async def verify(self, found: Found, keys: Sequence[Trusted]) -> None:
        """Return where one of the keys or people vouches for the archive, as found at its address.

        Raises `SignatureError`, and what asking may raise.
        """
        known_as = found.reader.calls(found.address)
        question = (known_as, found.digest, hashlib.sha256(repr(tuple(keys)).encode()).hexdigest())
        if question in self._good:
            return
        trusted = TrustedKeys.of(keys)
        if not (trusted.pem or trusted.pgp or trusted.identities):
            raise SignatureUntrusted(f"{found}: no PEM or OpenPGP key and no identity is trusted for it")
        signed = bool(found.address.repository) and await self._by_cosign(found, trusted)
        if not signed:
            await self._by_provenance(found, trusted)
        if len(self._good) >= REMEMBERED:
            self._good.clear()
        self._good.add(question)

    async def _by_cosign(self, found: Found, trusted: TrustedKeys) -> bool:
        """Whether the manifest is signed; False where that may still be said by a provenance."""
        if not trusted.pem and not trusted.identities:
            return False
        keys = public_keys(trusted.pem)
        manifest = self._origin(found).manifest
        registry = self._registry(found)
        simple = await registry.simple_signatures(manifest)
        if any(simple_is_good(one, manifest, keys) for one in simple):
            return True
        more, bundles = await registry.referring(manifest)
        if any(simple_is_good(one, manifest, keys) for one in more):
            return True
        if any(bundle_is_good(one, manifest, keys) for one in bundles):
            return True
        simple += more
        told = await self._by_identity(simple, bundles, manifest, trusted)
        if told == "":
            return True
        if trusted.pgp:
            return False
        if simple or bundles:
            raise SignatureUntrusted(
                f"{found}: {told or 'signed by a key that is not trusted, or for another manifest'}"
            )
        raise SignatureMissing(f"{found}: it is not signed, and its project wants it to be")

    async def _by_identity(
        self, simple: Sequence[Simple], bundles: Sequence[bytes], manifest: str, trusted: TrustedKeys
    ) -> str | None:
        """Empty where a certificate names one of the people; else why not, or None where nobody was asked for."""
        if not trusted.identities:
            return None
        from hub.sources.keyless import signed_by, signed_text_by  # noqa: PLC0415 - 45 MB, only where asked for

        told: list[str] = []
        asked = [partial(signed_by, one) for one in bundles]
        asked += [partial(signed_text_by, one) for one in simple if one.certificate]
        for ask in asked:
            said = await asyncio.to_thread(ask, manifest, trusted.identities)
            if not said:
                return ""
            told.append(said)
        return "; ".join(dict.fromkeys(told)) or None

    async def _by_provenance(self, found: Found, trusted: TrustedKeys) -> None:
        if not trusted.pgp:
            raise SignatureUntrusted(
                f"{found}: a Helm repository's charts are signed with OpenPGP; no such key is trusted"
            )
        data = await self._provenance(found)
        if not data:
            raise SignatureMissing(f"{found}: it has no provenance, and its project wants one")
        await asyncio.to_thread(check_provenance, data, found.digest, trusted.pgp, what=str(found))

    def _origin(self, found: Found) -> Origin:
        return self._kept.origin(found.digest, found.reader.calls(found.address))

    def _registry(self, found: Found) -> Registry:
        return Registry(found.address, self._download, found.reader.match)

    async def _provenance(self, found: Found) -> bytes:
        """The file as it is; empty where there is none."""
        origin = self._origin(found)
        if origin.manifest:
            registry = self._registry(found)
            manifest = await registry.manifest(origin.manifest)
            return (
                await registry.blob(manifest.provenance, limit=MAX_PROVENANCE) if manifest.provenance else b""
            )
        url = f"{origin.url}.prov"
        try:
            answer = await self._download.get(
                url, limit_bytes=MAX_PROVENANCE, authorization=found.reader.authorization(url)
            )
        except RepositoryDenied:
            return b""
        return answer.body
