"""What Git is told of the environment's proxies."""

from __future__ import annotations

import pytest

from agent.kube.proxy import without_users
from hub.sources.proxies import git_variables

LOOPBACK = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        ({"NO_PROXY": "a.example.com"}, {}),
        ({"HTTPS_PROXY": "http://p:1"}, {"https_proxy": "http://p:1", "no_proxy": LOOPBACK}),
        (
            {"HTTP_PROXY": "http://p:1", "NO_PROXY": ".svc,b"},
            {"http_proxy": "http://p:1", "no_proxy": f".svc,b,{LOOPBACK}"},
        ),
        (
            {"https_proxy": "http://small", "HTTPS_PROXY": "http://large", "no_proxy": "*"},
            {"https_proxy": "http://small", "no_proxy": "*"},
        ),
    ],
)
def test_git_is_told_what_all_others_read(environment: dict[str, str], expected: dict[str, str]) -> None:
    assert git_variables(environment) == expected


def test_s6_a_proxys_password_is_not_shown() -> None:
    said = without_users("Unsupported proxy syntax in 'http://robot:s3cret@bad host': for https://h/a@b")
    assert said == "Unsupported proxy syntax in 'http://***@bad host': for https://h/a@b"
