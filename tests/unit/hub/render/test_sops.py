from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, cast

import pytest

from hub.fleet.tools import SOPS_SOURCE, ensure_tools
from hub.render.explain import NoSuchField, NoSuchObject
from hub.render.explaining import Question
from hub.render.plain import ManifestError
from hub.render.pool import WorkerPool
from hub.render.programs import Programs
from hub.render.sops import is_encrypted
from tests.unit.hub.render.desk import CONFIG, Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Made for these tests; it opens nothing else.
PUBLIC = "age1t3vqrrnxhfm3qt45ndtwpmcx4z2yz2lcz6q5plthmq5x8hqsjfsqxx7d8w"
PRIVATE = "AGE-SECRET-KEY-18SWKQ0WMEZK47K8XHPLNDZCFEPKPS3L2YW6EGP7ADQ7C3W7YDRTQXSN875"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: hunter2-and-more\n"
VALUES = "password: hunter2-and-more\nhost_plain: db.example.com\n"
CHART = {
    "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "web/templates/s.yaml": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: {{ .Values.password | quote }}}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {host: {{ .Values.host_plain | quote }}}\n"
    ),
}


@pytest.fixture(scope="session")
def sops() -> str:
    return str(asyncio.run(ensure_tools(source=SOPS_SOURCE)) / "sops")


class Vault(Desk):
    """A repository whose files somebody encrypted with the real program."""

    sops: str
    home: Path

    def encrypt(
        self, name: str, text: str, *more: str, kind: str = "yaml", to: tuple[str, ...] = ("--age", PUBLIC)
    ) -> None:
        self.write(name, text)
        command = [
            self.sops,
            "encrypt",
            "--input-type",
            kind,
            "--output-type",
            kind,
            *to,
            *more,
            str(self.top / name),
        ]
        env = {"HOME": str(self.home), "GNUPGHOME": str(self.home), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.write(name, done.stdout)

    def key(self, **data: str) -> None:
        metadata = {"name": "k", "namespace": "shop", "labels": {"axletree.dev/credentials": "sops"}}
        data = {name.replace("_", "."): text for name, text in data.items()}
        self.objects.append({"kind": "Secret", "metadata": metadata, "stringData": data})


@pytest.fixture
async def vault(tmp_path: Path, sops: str, programs: Programs) -> AsyncIterator[Vault]:
    async with WorkerPool(programs=Programs(kustomize=programs.kustomize, sops=sops)) as pool:
        made = Vault(tmp_path / "repo", pool)
        made.sops, made.home = sops, tmp_path / "home"
        made.home.mkdir(mode=0o700)
        yield made


def _data(found: Any) -> dict[str, str]:
    secret = next(one for one in found.objects if one["kind"] == "Secret")
    data: dict[str, str] = secret.get("stringData") or secret.get("data")
    return data


async def test_manifests_are_opened_in_the_worker(vault: Vault) -> None:
    vault.encrypt("web/s.yaml", SECRET, "--encrypted-regex", "^(data|stringData)$")
    vault.write("web/c.yaml", CONFIG)
    vault.key(a_agekey=f"# created: today\n{PRIVATE}\n")
    request = await vault.request({"path": "web"})
    assert "hunter2" not in json.dumps(request.to_wire()), "the hub itself never sees it"
    found = await vault.runner.render(request)
    assert _data(found) == {"password": "hunter2-and-more"}
    assert all("sops" not in one for one in found.objects)


async def test_values_files_and_generated_secrets(vault: Vault) -> None:
    for name, text in CHART.items():
        vault.write(name, text)
    vault.encrypt("web/secret-values.yaml", VALUES, "--unencrypted-suffix", "_plain")
    vault.encrypt("over/app.env", "password=hunter2-and-more\n", kind="dotenv")
    vault.write("over/kustomization.yaml", "secretGenerator: [{name: k, envs: [app.env]}]\n")
    vault.key(a_agekey=PRIVATE)
    chart = await vault.render({"path": "web", "helm": {"valueFiles": ["secret-values.yaml"]}})
    assert _data(chart) == {"password": "hunter2-and-more"}
    assert chart.objects[0]["data"] == {"host": "db.example.com"}, "what was not encrypted is no secret"
    overlay = await vault.render({"path": "over"})
    assert _data(overlay) == {"password": "aHVudGVyMi1hbmQtbW9yZQ=="}


async def test_i5_what_a_worker_explains_leaves_it_without_what_was_encrypted(vault: Vault) -> None:
    for name, text in CHART.items():
        vault.write(name, text)
    vault.write("web/values.yaml", "password: first\nhost_plain: a\n")
    vault.encrypt("web/secret-values.yaml", VALUES, "--unencrypted-suffix", "_plain")
    vault.encrypt("over/s.yaml", SECRET, "--encrypted-regex", "^(data|stringData)$")
    vault.key(a_agekey=PRIVATE)
    pool = cast("WorkerPool", vault.runner)
    request = await vault.request({"path": "web", "helm": {"valueFiles": ["secret-values.yaml"]}})
    host, password, whole = [
        await pool.explain(request, Question(kind, name, field))
        for kind, name, field in (
            ("ConfigMap", "c", ".data.host"),
            ("secret", "s", ".stringData.password"),
            ("secret", "s", ""),
        )
    ]
    assert [(one.after, one.at) for one in host] == [
        ("a", "values.yaml:2"),
        ("(secret)", "secret-values.yaml:2"),
    ]
    assert [one.after for one in password] == ["(secret)"] * len(password)
    plain = await pool.explain(
        await vault.request({"path": "over"}), Question("Secret", "s", ".metadata.name")
    )
    assert [one.after for one in plain] == ["s"]
    assert "hunter2" not in repr([host, password, whole, plain])
    with pytest.raises(NoSuchObject, match="there are: configmap/c, secret/s"):
        await pool.explain(request, Question("Service", "s", ""))
    with pytest.raises(NoSuchField):
        await pool.explain(request, Question("ConfigMap", "c", ".data.nothing"))


async def test_pgp_keys_open_without_an_agent(vault: Vault) -> None:
    gpg = shutil.which("gpg")
    if gpg is None:
        pytest.skip("there is no gpg here to make a key with")

    def run(*arguments: str) -> str:
        command = [
            gpg or "gpg",
            "--homedir",
            str(vault.home),
            "--batch",
            "--pinentry-mode",
            "loopback",
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def stop() -> None:
        subprocess.run(["gpgconf", "--homedir", str(vault.home), "--kill", "all"], check=False)

    run("--passphrase", "", "--quick-generate-key", "fleet@example.com", "default", "default", "never")
    listed = run("--with-colons", "--list-keys", "fleet@example.com")
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    vault.encrypt("web/s.yaml", SECRET, to=("--pgp", fingerprint))
    vault.key(p_asc=run("--passphrase", "", "--armor", "--export-secret-keys", fingerprint))
    stop()
    assert _data(await vault.render({"path": "web"})) == {"password": "hunter2-and-more"}


async def test_i5_what_was_encrypted_stays_in_secrets(vault: Vault) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  url: hunter2-and-more\n"
    vault.encrypt("web/c.yaml", config, "--encrypted-regex", "^data$")
    vault.key(a_agekey=PRIVATE)
    with pytest.raises(ManifestError) as caught:
        await vault.render({"path": "web"})
    assert caught.value.reason == "SecretInClear"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("n.yaml", "password: 48151623\n", "yaml"),
        ("n.json", '{"password": 48151623}\n', "json"),
        ("token.txt", "aHVudGVyMi1hbmQ9Mw==\n", "binary"),
    ],
)
async def test_i5_numbers_and_whole_lines_that_were_encrypted_stay_in_secrets_too(
    vault: Vault, name: str, text: str, kind: str
) -> None:
    vault.encrypt(f"over/{name}", text, kind=kind)
    vault.write("over/kustomization.yaml", f"configMapGenerator: [{{name: k, files: [{name}]}}]\n")
    vault.key(a_agekey=PRIVATE)
    with pytest.raises(ManifestError) as caught:
        await vault.render({"path": "over"})
    assert caught.value.reason == "SecretInClear"
    assert "4815" not in str(caught.value)


async def test_a_manifest_that_is_encrypted_as_a_whole_may_be_named_elsewhere(vault: Vault) -> None:
    vault.encrypt("web/s.yaml", SECRET.replace("name: s\n", "name: database-access\n"))
    vault.write("web/c.yaml", f"{CONFIG}data: {{from: database-access}}\n")
    vault.key(a_agekey=PRIVATE)
    assert _data(await vault.render({"path": "web"})) == {"password": "hunter2-and-more"}


@pytest.mark.parametrize(
    "key", ["", "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"]
)
async def test_without_its_key_nothing_is_rendered(vault: Vault, key: str) -> None:
    vault.encrypt("web/s.yaml", SECRET)
    if key:
        vault.key(a_agekey=key)
    with pytest.raises(ManifestError) as caught:
        await vault.render({"path": "web"})
    assert caught.value.reason == "DecryptionFailed"
    assert (caught.value.file, "hunter2" in str(caught.value)) == ("s.yaml", False)


async def test_a_worker_without_the_program_says_what_to_do(vault: Vault) -> None:
    vault.encrypt("web/s.yaml", SECRET)
    vault.key(a_agekey=PRIVATE)
    async with WorkerPool() as pool:
        vault.runner = pool
        with pytest.raises(ManifestError, match=r"install it, or run `python -m hub.fleet.tools sops`"):
            await vault.render({"path": "web"})


def test_text_about_sops_is_not_encrypted() -> None:
    assert not is_encrypted("sops: [how, to]\n")
    assert not is_encrypted("a: ENC[AES256_GCM,data:x]\n")
    assert is_encrypted("a: ENC[AES256_GCM,data:x]\nsops:\n  mac: x\n")
    assert is_encrypted('{"a": "ENC[AES256_GCM]", "sops": {"mac": "x"}}')
