"""A real OCI registry: charts that `helm push` brought, artifacts of manifests, who may read, cosign's signatures."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hub.fleet.tools import ensure_tools
from hub.sources.charts import ChartRepositories
from hub.sources.credentials import Credentials
from hub.sources.errors import (
    ChartInvalid,
    RepositoryDenied,
    RevisionNotFound,
    SignatureMissing,
    SignatureUntrusted,
)
from hub.sources.signing import Identity
from tests.integration.registry_rig import PASSWORD, USER, RealRegistry
from tests.unit.hub.sources.chart_server import FLUX, chart_archive, plain_archive
from tests.unit.hub.sources.cosigned import (
    BUNDLE_TYPE,
    bundle_of,
    public,
    simple_layer,
    simple_tag,
)
from tests.unit.hub.sources.sigstore_instance import ISSUER, SigstoreInstance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ROBOT = Credentials(USER, PASSWORD)


@pytest.fixture(params=["", "htpasswd", "token"], ids=["open", "basic", "token"])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RealRegistry]:
    running = RealRegistry(tmp_path / "registry", request.param)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def reader(tmp_path: Path, registry: RealRegistry) -> AsyncIterator[ChartRepositories]:
    """With the credentials that the registry wants."""
    trusted = [f"http://127.0.0.1:{registry.port}/"]
    trusted += [registry.tokens.url] if registry.tokens is not None else []

    def credentials(url: str) -> Credentials | None:
        return ROBOT if registry.auth and url.startswith(tuple(trusted)) else None

    made = ChartRepositories(tmp_path / "kept", credentials=credentials)
    yield made
    await made.close()


async def test_what_a_registry_holds_is_read_by_who_may(
    registry: RealRegistry, reader: ChartRepositories, charts: ChartRepositories
) -> None:
    for version in ("1.0.0", "1.4.2", "1.10.0+build.5", "2.0.0-rc.1"):
        archive = chart_archive("web", version, {"values.yaml": f"v: {version}\n".encode()})
        layer = ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive, {})
        await registry.push("stable/web", version.replace("+", "_"), [layer])
    address = f"{registry.oci}/stable#web"
    for revision, version in (
        ("1.0.0", "1.0.0"),
        ("^1.0", "1.10.0+build.5"),
        ("~1.4", "1.4.2"),
        ("", "1.10.0+build.5"),
    ):
        digest = await reader.resolve(address, revision)
        assert (await reader.files(address, digest, ""))["values.yaml"] == f"v: {version}\n".encode()
    with pytest.raises(RevisionNotFound):
        await reader.resolve(address, "^3")
    with pytest.raises(RepositoryDenied):
        await reader.resolve(address, "9.9.9")

    files = {"deploy/one.yaml": b"kind: A\n"}
    pinned = await registry.push("team/apps", "1.0.0", [(FLUX, plain_archive(files), {})])
    apps = f"{registry.oci}/team/apps"
    assert await reader.files(apps, await reader.resolve(apps, "^1"), "deploy") == {"one.yaml": b"kind: A\n"}
    await registry.push("team/apps", "1.0.0", [(FLUX, plain_archive({"moved.yaml": b"x"}), {})])
    moved = await reader.resolve(apps, "1.0.0", fresh=True)
    assert list(await reader.files(apps, moved, "")) == ["moved.yaml"]
    assert await reader.files(apps, await reader.resolve(apps, pinned), "") == files
    with pytest.raises(RepositoryDenied):
        await reader.resolve(apps, f"sha256:{'0' * 64}")
    with pytest.raises(ChartInvalid):
        await reader.resolve(f"{registry.oci}/team#apps", "1.0.0")

    if registry.auth:  # nobody in particular reads nothing
        with pytest.raises(RepositoryDenied):
            await charts.resolve(address, "1.0.0")
    if registry.tokens is not None:  # never more than reading was asked for
        asked = {scope for scope, granted in registry.tokens.asked if granted}
        assert asked == {"repository:stable/web:pull", "repository:team/apps:pull"}


@pytest.mark.parametrize("registry", [""], indirect=True, ids=["open"])
async def test_what_helm_pushed_is_the_chart_that_it_packed(
    registry: RealRegistry, reader: ChartRepositories, tmp_path: Path
) -> None:
    helm = await ensure_tools() / "helm"
    archive = tmp_path / "web-1.2.3.tgz"
    archive.write_bytes(chart_archive("web", "1.2.3", {"values.yaml": b"a: 1\n"}))
    process = await asyncio.create_subprocess_exec(
        *(str(helm), "push", str(archive), f"{registry.oci}/stable", "--plain-http"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    digest = await reader.resolve(f"{registry.oci}/stable#web", "~1.2")
    assert digest == hashlib.sha256(archive.read_bytes()).hexdigest()


@pytest.mark.parametrize("registry", ["token"], indirect=True)
async def test_cosigns_signatures_live_in_the_registry(
    registry: RealRegistry, reader: ChartRepositories
) -> None:
    """Under a tag of the manifest's, and among its referrers, which this registry keeps under a tag, too."""
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    address = f"{registry.oci}/team/apps"
    instance = SigstoreInstance()
    somebody = Identity(ISSUER, "release@example.com", instance.root())
    for number, form in enumerate(("simple", "bundle", "keyless")):
        layers = [(FLUX, plain_archive({"a.yaml": form.encode()}), {})]
        digest = await registry.push("team/apps", f"1.{number}.0", layers)
        commit = await reader.resolve(address, f"1.{number}.0")
        with pytest.raises(SignatureMissing):
            await reader.verify(address, commit, [public(key)])
        if form == "simple":
            await registry.push("team/apps", simple_tag(digest), [simple_layer(digest, key)])
        else:
            keyless = instance.bundle(digest, somebody.subject)
            bundle = keyless if form == "keyless" else bundle_of(digest, key)
            await registry.refer("team/apps", digest, BUNDLE_TYPE, bundle)
        await reader.verify(address, commit, [somebody] if form == "keyless" else [public(key)])
        with pytest.raises(SignatureUntrusted):
            await reader.verify(address, commit, [public(other)])
