"""Who vouches for an archive: cosign's signatures in its registry, a provenance beside it or in its manifest."""

from __future__ import annotations

import asyncio
import hashlib
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
    from hub.sources.kept import KeptArchives
    from hub.sources.signing import Trusted

REMEMBERED = 20_000


class Vouchers:
    """Asks for signatures and remembers what was good."""

    def __init__(
        self,
        kept: KeptArchives,
        download: Downloader,
        credentials: Callable[[str], Credentials | None],
    ) -> None:
        self._kept = kept
        self._download = download
        self._credentials = credentials
        self._good: set[tuple[str, str, str]] = set()

    async def verify(self, address: ChartAddress, digest: str, keys: Sequence[Trusted]) -> None:
        """Return where one of the keys or people vouches for the archive of this digest, as found at the address.

        Raises `SignatureError`, and what asking may raise.
        """
        question = (str(address), digest, hashlib.sha256(repr(tuple(keys)).encode()).hexdigest())
        if question in self._good:
            return
        trusted = TrustedKeys.of(keys)
        what = f"{address}: archive {digest[:12]}"
        if not (trusted.pem or trusted.pgp or trusted.identities):
            raise SignatureUntrusted(f"{what}: no PEM or OpenPGP key and no identity is trusted for it")
        signed = bool(address.repository) and await self._by_cosign(address, digest, trusted, what)
        if not signed:
            await self._by_provenance(address, digest, trusted, what)
        if len(self._good) >= REMEMBERED:
            self._good.clear()
        self._good.add(question)

    async def _by_cosign(self, address: ChartAddress, digest: str, trusted: TrustedKeys, what: str) -> bool:
        """Whether the manifest is signed; False where that may still be said by a provenance."""
        if not trusted.pem and not trusted.identities:
            return False
        keys = public_keys(trusted.pem)
        manifest = self._kept.origin(digest, str(address)).manifest
        registry = Registry(address, self._download, self._credentials)
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
                f"{what}: {told or 'signed by a key that is not trusted, or for another manifest'}"
            )
        raise SignatureMissing(f"{what}: it is not signed, and its project wants it to be")

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

    async def _by_provenance(
        self, address: ChartAddress, digest: str, trusted: TrustedKeys, what: str
    ) -> None:
        if not trusted.pgp:
            raise SignatureUntrusted(
                f"{what}: a Helm repository's charts are signed with OpenPGP; no such key is trusted"
            )
        data = await self._provenance(address, digest)
        if not data:
            raise SignatureMissing(f"{what}: it has no provenance, and its project wants one")
        await asyncio.to_thread(check_provenance, data, digest, trusted.pgp, what=what)

    async def _provenance(self, address: ChartAddress, digest: str) -> bytes:
        """The file as it is; empty where there is none."""
        origin = self._kept.origin(digest, str(address))
        if origin.manifest:
            registry = Registry(address, self._download, self._credentials)
            manifest = await registry.manifest(origin.manifest)
            return (
                await registry.blob(manifest.provenance, limit=MAX_PROVENANCE) if manifest.provenance else b""
            )
        url = f"{origin.url}.prov"
        found = self._credentials(url)
        try:
            answer = await self._download.get(
                url, limit_bytes=MAX_PROVENANCE, authorization=found.header() if found else ""
            )
        except RepositoryDenied:
            return b""
        return answer.body
