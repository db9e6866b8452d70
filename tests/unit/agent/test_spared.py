"""What an agent's process does without, and gets all the same when it asks."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

_SPARED = (
    "difflib",
    "email.policy",
    "http.client",
    "importlib.metadata",
    "pickle",
    "tempfile",
    "urllib.request",
)
_IMPORT = f"""
import json, os, sys
from agent.spared import spared
os.environ["SSL_CERT_FILE"] = "of-the-user"
with spared():
    import agent.process
found = {{"loaded": [name for name in {_SPARED!r} if name in sys.modules], "trust": os.environ["SSL_CERT_FILE"]}}
"""


def _in_a_process(code: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", f"{_IMPORT}\n{code}\nprint(json.dumps(found))"],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_agent_starts_without_what_it_never_asks() -> None:
    assert _in_a_process("") == {"loaded": [], "trust": "of-the-user"}


def test_who_needs_it_afterwards_gets_it() -> None:
    found = _in_a_process(
        """
os.environ["https_proxy"] = "http://proxy:3128"
import aiohttp.helpers, email.policy, pickle
from importlib.metadata import version
from agent.kube.proxy import environment_proxy
found |= {
    "version": version("axletree"),
    "type": aiohttp.helpers.parse_content_type("text/html; charset=latin-1")[0],
    "lines": aiohttp.helpers.HTTP.max_line_length == email.policy.HTTP.max_line_length,
    "proxies": aiohttp.helpers.getproxies()["https"],
    "proxy": environment_proxy("https://api.example.com"),
    "pickle": pickle.loads(pickle.dumps([1])),
}
"""
    )
    del found["loaded"], found["trust"]
    assert found == {
        "version": version("axletree"),
        "type": "text/html",
        "lines": True,
        "proxies": "http://proxy:3128",
        "proxy": "http://proxy:3128",
        "pickle": [1],
    }


def test_an_agent_knows_its_version() -> None:
    found = _in_a_process("from agent.agent import installed_version as one; found['version'] = one()")
    assert found["version"] == version("axletree")
