"""Git, charts and registries by the proxy that the environment names, as one whole process sees it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.faults import Wire
from tests.integration.git_rig import Author, author, server
from tests.unit.hub.sources.certificates import Authority
from tests.unit.hub.sources.chart_server import ChartServer, chart_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hub.fleet.githttp import GitServer

__all__ = ["author", "chart_server", "server"]

GIT, CHARTS = "git.example.test", "charts.example.test"
USER = "robot:pr0xy-5ecret"
DENIED = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="here"\r\n'
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
ASK = """
import asyncio, json, sys
from pathlib import Path
from hub.sources.charts import ChartRepositories
from hub.sources.errors import SourceError
from hub.sources.git import GitSource

async def main():
    said = []
    Path(sys.argv[1]).mkdir()
    git = GitSource(Path(sys.argv[1], "git"), credentials=lambda _: None)
    charts = ChartRepositories(Path(sys.argv[1], "charts"), credentials=lambda _: None)
    for source, url, revision in zip([git, charts, charts, git], sys.argv[2:], ["main", "^1", "^1", "main"]):
        try:
            said.append(await source.resolve(url, revision))
        except SourceError as error:
            said.append(f"{error.reason}: {error}")
    await git.close()
    await charts.close()
    print(json.dumps(said))

asyncio.run(main())
"""


class Tunnels:
    """A proxy for CONNECT, with a password. Names are known to it alone."""

    def __init__(self, places: dict[str, Wire]) -> None:
        self.asked: list[str] = []
        self.port = 0
        self._places = places

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split()[1])
        given = f"Proxy-Authorization: Basic {base64.b64encode(USER.encode()).decode()}"
        wire = self._places.get(self.asked[-1])
        if wire is None or given not in head:
            writer.write(DENIED)
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await wire.carry(reader, writer)


@asynccontextmanager
async def tunnels(context: ssl.SSLContext, places: dict[str, str]) -> AsyncIterator[Tunnels]:
    """Each name's plain server, behind TLS, behind the proxy."""
    async with AsyncExitStack() as stack:
        wires = {}
        for name, url in places.items():
            plain = await stack.enter_async_context(Wire(url).running())
            front = await asyncio.start_server(plain.carry, "127.0.0.1", 0, ssl=context)
            stack.callback(front.close)
            there = f"https://127.0.0.1:{front.sockets[0].getsockname()[1]}"
            wires[f"{name}:443"] = await stack.enter_async_context(Wire(there).running())
        found = Tunnels(wires)
        listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
        stack.callback(listening.close)
        found.port = listening.sockets[0].getsockname()[1]
        yield found


def served(folder: Path, *names: str) -> tuple[ssl.SSLContext, str]:
    """A server's context for the names, and the file of the authority that vouches for it."""
    authority, key = Authority.made("proxied"), ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pair, root = folder / "pair.pem", folder / "root.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pair.write_bytes(private + leaf.public_bytes(pem))
    root.write_bytes(authority.certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context, str(root)


async def asked(folder: Path, *urls: str, **variables: str) -> tuple[list[str], str]:
    """What a process of its own finds at the addresses, and all that it printed."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        ASK,
        str(folder),
        *urls,
        env={**kept, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, more = await process.communicate()
    assert process.returncode == 0, more.decode()
    found: list[str] = json.loads(said)
    return found, (said + more).decode()


async def test_s6_git_and_charts_are_reached_by_the_proxy_of_the_environment(
    tmp_path: Path, author: Author, server: GitServer, chart_server: ChartServer
) -> None:
    commit, digest = await author.commit({"a": "1"}), chart_server.add("web", "1.2.0")
    context, root = served(tmp_path, GIT, CHARTS)
    trust = {"GIT_SSL_CAINFO": root, "SSL_CERT_FILE": root}
    # over plain http, loopback is asked directly
    urls = (
        f"https://{GIT}/apps.git",
        f"https://{CHARTS}/#web",
        f"oci://{CHARTS}/stable#web",
        server.url_of("apps.git"),
    )
    places = {GIT: server.url_of("apps.git"), CHARTS: chart_server.url}
    async with tunnels(context, places) as proxy:
        way = f"http://{USER}@127.0.0.1:{proxy.port}"
        found, _ = await asked(tmp_path / "by", *urls, HTTPS_PROXY=way, HTTP_PROXY=way, **trust)
        assert found == [commit, digest, digest, commit]
        assert set(proxy.asked) == {f"{GIT}:443", f"{CHARTS}:443"}

        proxy.asked.clear()
        found, _ = await asked(tmp_path / "not", *urls, https_proxy=way, NO_PROXY=".example.test", **trust)
        assert [one.partition(":")[0] for one in found] == ["RepositoryUnreachable"] * 3 + [commit]
        assert not proxy.asked

        for number, wrong in enumerate(("robot:wr0ng-5ecret@127.0.0.1", "robot:wr0ng-5ecret@[bad")):
            there = f"http://{wrong}:{proxy.port}"
            found, words = await asked(tmp_path / f"wrong{number}", *urls[:3], HTTPS_PROXY=there, **trust)
            assert [one.partition(":")[0] for one in found] == ["RepositoryUnreachable"] * 3
            assert "wr0ng-5ecret" not in words
