"""Provenances of charts, signed by a real `gpg`, beside the archive and in a registry's manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.sources.errors import SignatureMissing, SignatureUntrusted
from hub.sources.registry import CHART_LAYER, PROVENANCE_LAYER
from tests.integration.signers import PgpHome
from tests.unit.hub.sources.chart_server import chart_archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.sources.charts import ChartRepositories
    from tests.integration.signers import Signer
    from tests.unit.hub.sources.chart_server import ChartServer


@pytest.fixture(scope="module")
def pgp() -> Iterator[PgpHome]:
    home = PgpHome()
    yield home
    home.close()


@pytest.fixture(scope="module")
def signers(pgp: PgpHome) -> tuple[Signer, Signer]:
    return pgp.signer("release"), pgp.signer("other")


def provenance(pgp: PgpHome, digest: str, who: str = "release") -> bytes:
    text = f"apiVersion: v2\nname: web\nversion: 1.0.0\n\n...\nfiles:\n  web-1.0.0.tgz: sha256:{digest}\n"
    return pgp.run("--local-user", f"{who}@example.com", "--clearsign", stdin=text).encode()


async def test_a_provenance_beside_the_archive_is_verified(
    chart_server: ChartServer, charts: ChartRepositories, pgp: PgpHome, signers: tuple[Signer, Signer]
) -> None:
    release, other = signers
    digest = chart_server.add("web", "1.0.0")
    address, path = f"{chart_server.url}/stable#web", "/stable/charts/web-1.0.0.tgz.prov"
    assert await charts.resolve(address, "1.0.0") == digest
    with pytest.raises(SignatureMissing):
        await charts.verify(address, digest, [release.public])
    chart_server.files[path] = provenance(pgp, digest)
    await charts.verify(address, digest, [release.public])
    with pytest.raises(SignatureUntrusted, match="not trusted"):
        await charts.verify(address, digest, [other.public])


async def test_only_what_is_signed_of_a_provenance_counts(
    chart_server: ChartServer, charts: ChartRepositories, pgp: PgpHome, signers: tuple[Signer, Signer]
) -> None:
    release, _ = signers
    digest = chart_server.add("web", "1.0.0")
    address, path = f"{chart_server.url}/stable#web", "/stable/charts/web-1.0.0.tgz.prov"
    await charts.resolve(address, "1.0.0")
    claim = f"files:\n  web-1.0.0.tgz: sha256:{digest}\n".encode()
    foreign = provenance(pgp, "0" * 64)
    for data in (
        foreign,
        claim + foreign,
        foreign + claim,
        provenance(pgp, digest, who="other"),
        foreign + provenance(pgp, digest, who="other"),
        provenance(pgp, digest).replace(b"1.0.0", b"1.0.1"),
        claim,
    ):
        chart_server.files[path] = data
        with pytest.raises(SignatureUntrusted):
            await charts.verify(address, digest, [release.public])


async def test_a_provenance_in_a_registry_is_verified(
    chart_server: ChartServer, charts: ChartRepositories, pgp: PgpHome, signers: tuple[Signer, Signer]
) -> None:
    release, other = signers
    archive = chart_archive("web", "1.0.0")
    address = f"{chart_server.oci}/stable#web"
    chart_server.push("stable/web", "1.0.0", [(CHART_LAYER, archive, {})])
    digest = await charts.resolve(address, "1.0.0")
    with pytest.raises(SignatureMissing):
        await charts.verify(address, digest, [release.public])
    layers = [(CHART_LAYER, archive, {}), (PROVENANCE_LAYER, provenance(pgp, digest), {})]
    chart_server.push("stable/web", "1.0.0", layers)
    assert await charts.resolve(address, "1.0.0", fresh=True) == digest
    await charts.verify(address, digest, [release.public])
    with pytest.raises(SignatureUntrusted):
        await charts.verify(address, digest, [other.public])
