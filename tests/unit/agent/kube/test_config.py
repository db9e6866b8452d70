from __future__ import annotations

import base64
import json
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.kube.client import ApiUnreachable, RestClient
from agent.kube.config import (
    CredentialPluginUnsupported,
    KubeconfigError,
    NotInCluster,
    in_cluster,
    load_kubeconfig,
)

if TYPE_CHECKING:
    from pathlib import Path


def _self_signed() -> tuple[str, str]:
    """A certificate for localhost that is its own CA, without key identifiers, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


CERTIFICATE, KEY = _self_signed()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _write(path: Path, *, user: Any = None, context: Any = None, **cluster: Any) -> Path:
    document = {
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"} | (context or {})}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/"} | cluster}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(json.dumps(document))
    return path


def test_a_kubeconfig_with_inline_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    user = {"client-certificate-data": _b64(CERTIFICATE), "client-key-data": _b64(KEY)}
    path = _write(
        tmp_path / "config",
        user=user,
        context={"namespace": "shop"},
        **{"certificate-authority-data": _b64(CERTIFICATE), "tls-server-name": "api.test"},
    )
    config = load_kubeconfig(path)
    assert config.server == "https://127.0.0.1:6443"
    assert (config.namespace, config.server_hostname, config.headers) == ("shop", "api.test", {})
    assert config.ssl is not None
    assert config.ssl.verify_mode is ssl.CERT_REQUIRED
    assert len(config.ssl.get_ca_certs()) == 1
    assert list(temporary.iterdir()) == []  # no key is left behind


def test_a_kubeconfig_with_files_beside_it(tmp_path: Path) -> None:
    for name, text in (("ca.pem", CERTIFICATE), ("c.pem", CERTIFICATE), ("k.pem", KEY)):
        (tmp_path / name).write_text(text)
    user = {"client-certificate": "c.pem", "client-key": "k.pem", "tokenFile": "token"}
    config = load_kubeconfig(_write(tmp_path / "config", user=user, **{"certificate-authority": "ca.pem"}))
    assert config.ssl is not None
    assert config.token_file == tmp_path / "token"
    config = load_kubeconfig(_write(tmp_path / "config", user={"token": "t", "tokenFile": "token"}))
    assert config.headers == {"Authorization": "Bearer t"}
    assert config.token_file is None
    assert "Bearer" not in repr(config)


def test_only_an_explicit_word_turns_verification_off(tmp_path: Path) -> None:
    config = load_kubeconfig(_write(tmp_path / "config", **{"insecure-skip-tls-verify": True}))
    assert config.ssl is not None
    assert config.ssl.verify_mode is ssl.CERT_NONE
    assert load_kubeconfig(_write(tmp_path / "config", server="http://127.0.0.1:1")).ssl is None


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"context": {"cluster": "other"}}, "no cluster named 'other'"),
        ({"context": {"user": "other"}}, "no user named 'other'"),
        ({"server": ""}, "no http"),
        ({"user": {"client-certificate-data": _b64(CERTIFICATE)}}, "belong together"),
        ({"certificate-authority": "missing.pem"}, "certificate-authority cannot be read"),
        ({"certificate-authority-data": "!"}, "certificate-authority cannot be read"),
        ({"certificate-authority-data": _b64("no certificate")}, "certificates cannot be loaded"),
    ],
)
def test_a_kubeconfig_that_cannot_work_says_why(tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    with pytest.raises(KubeconfigError, match=part) as caught:
        load_kubeconfig(_write(tmp_path / "config", **changes))
    assert str(tmp_path / "config") in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "current-context: none", "a: b: c"])
def test_a_text_that_is_no_kubeconfig_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(Exception, match="config") as caught:
        load_kubeconfig(tmp_path / "config")
    assert getattr(caught.value, "reason", "") in {"KubeconfigInvalid", "InvalidYaml"}
    with pytest.raises(KubeconfigError, match="No such file"):
        load_kubeconfig(tmp_path / "missing")


@pytest.mark.parametrize("plugin", ["exec", "auth-provider"])
def test_credential_plugins_are_refused_by_name(tmp_path: Path, plugin: str) -> None:
    with pytest.raises(CredentialPluginUnsupported, match="kubectl create token"):
        load_kubeconfig(_write(tmp_path / "config", user={plugin: {"command": "aws"}}))


def test_outside_a_pod_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(NotInCluster):
        in_cluster()


def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(NotInCluster):
        in_cluster(account=tmp_path)
    for name, text in (("token", "t"), ("ca.crt", CERTIFICATE), ("namespace", "axletree-agent\n")):
        (tmp_path / name).write_text(text)
    config = in_cluster(account=tmp_path)
    assert (config.server, config.namespace) == ("https://[fd00::1]:443", "axletree-agent")
    assert config.token_file == tmp_path / "token"
    assert config.ssl is not None
    assert len(config.ssl.get_ca_certs()) == 1


async def test_the_server_is_verified_by_the_configured_name_and_ca(tmp_path: Path) -> None:
    (tmp_path / "server.pem").write_text(CERTIFICATE + KEY)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "ConfigMap"})

    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/a", answer)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    server = f"https://127.0.0.1:{runner.addresses[0][1]}"
    authority = {"certificate-authority-data": _b64(CERTIFICATE)}
    good = load_kubeconfig(
        _write(tmp_path / "good", server=server, **authority, **{"tls-server-name": "api.test"})
    )
    wrong_name = load_kubeconfig(_write(tmp_path / "name", server=server, **authority))
    wrong_ca = load_kubeconfig(_write(tmp_path / "ca", server=server, **{"tls-server-name": "api.test"}))
    try:
        async with RestClient(good, user_agent="test/1") as client:
            assert await client.get("/a") == {"kind": "ConfigMap"}
        for config in (wrong_name, wrong_ca):
            async with RestClient(config, user_agent="test/1") as client:
                with pytest.raises(ApiUnreachable, match="certificate"):
                    await client.get("/a")
    finally:
        await runner.cleanup()
