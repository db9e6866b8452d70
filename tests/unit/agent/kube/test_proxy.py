"""Which addresses are reached through a proxy, and that its password stays where it is."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from agent.kube.proxy import environment_proxy, without_users
from agent.link.session import HubSession, HubUnreachable

PROXY = "http://proxy:3128"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("excepted", "server", "direct"),
    [
        (".internal", "https://api.example.com:6443", False),
        (".internal", "https://api.internal", True),
        ("example.com", "https://hub.example.com", True),
        ("example.com", "https://example.com", True),
        ("example.com", "https://badexample.com", False),
        ("*.example.com", "https://hub.example.com", True),
        (" a.b , Hub.Example.com ", "https://hub.example.com", True),
        ("example.com:8443", "https://hub.example.com:8443", True),
        ("example.com:8443", "https://hub.example.com", False),
        ("example.com:443", "https://hub.example.com", True),
        ("*", "https://hub.example.com", True),
        ("", "https://hub.example.com", False),
        ("10.0.0.0/8", "https://10.1.2.3:8443", True),
        ("10.0.0.0/8,192.168.0.0/16", "https://192.169.0.1", False),
        ("10.0.0.0/8", "https://hub.example.com", False),
        ("10.0.0.0/99", "https://10.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.3:8443", True),
        ("10.1.2.3:8443", "https://10.1.2.3", False),
        ("1.2.3", "https://10.1.2.3", False),
        ("fd00::/8", "https://[fd00::1]:8443", True),
        ("fd00::1", "https://[fd00:0::1]", True),
        ("[fd00::1]:8443", "https://[fd00::1]:8443", True),
        ("[fd00::1]:1", "https://[fd00::1]:8443", False),
        ("", "https://127.0.0.1:6443", True),
        ("", "https://[::1]:6443", True),
        ("", "https://localhost", True),
    ],
)
def test_no_proxy_is_read_as_kubectl_reads_it(
    monkeypatch: pytest.MonkeyPatch, excepted: str, server: str, *, direct: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", excepted)
    assert environment_proxy(server) == (None if direct else PROXY)


def test_small_letters_come_first_and_each_scheme_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment_proxy("https://hub.example.com") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://large:1")
    monkeypatch.setenv("https_proxy", PROXY)
    assert environment_proxy("https://hub.example.com") == PROXY
    assert environment_proxy("http://hub.example.com") is None
    assert environment_proxy("ssh://hub.example.com") is None


@pytest.mark.parametrize(
    "text",
    [
        "407, url='http://us%40er:s3cret@proxy:3128'",
        "s3cret@127.0.0.1:99",
        "'us:s3cret@127.0.0.1'",
        "http://a:s3cret@with@proxy",
    ],
)
def test_i5_what_a_library_quotes_of_a_proxys_address_has_no_password(text: str) -> None:
    assert "s3cret" not in without_users(text)


async def test_i5_a_proxy_that_refuses_us_is_told_without_our_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heads = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://robot:s3%40cret@127.0.0.1:{port}")
    session = HubSession("https://hub.example.com", ssl.create_default_context(), user_agent="tests")
    try:
        with pytest.raises(HubUnreachable, match="407") as raised:
            await session.exchange("GET", "/agent/v1/ca")
    finally:
        await session.close()
        server.close()
        await server.wait_closed()
    assert "cret" not in str(raised.value)
    assert b"Proxy-Authorization: Basic cm9ib3Q6czNAY3JldA==" in heads[0]
