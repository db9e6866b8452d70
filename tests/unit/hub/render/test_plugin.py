from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from hub.render.plain import ManifestError
from hub.render.pool import WorkerPool
from hub.render.programs import Programs
from tests.unit.hub.render.desk import Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SCRIPT = """
import json, os, pathlib, socket
context = json.loads(os.environ["AXLETREE_CONTEXT"])
try:
    socket.create_connection(("127.0.0.1", 9), 1)
    net = "open"
except PermissionError:
    net = "closed"
except OSError:
    net = "open"
data = {
    "text": pathlib.Path("input.txt").read_text(), "cluster": context["cluster"]["name"], "net": net,
    "replicas": context["parameters"]["replicas"], "param": os.environ["PARAM_replicas"],
    "inherited": os.environ.get("SECRET_OF_THE_HUB", ""), "zone": os.environ.get("TZ", ""),
}
print(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": data}))
"""
LOOKS = """
import json, os, pathlib
def seen(path):
    try:
        return str(sorted(os.listdir(path)))
    except OSError as error:
        return type(error).__name__
here = pathlib.Path.cwd()
data = {"own": seen(here), "above": seen(here.parent)}
print(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "looks"}, "data": data}))
"""


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setenv("SECRET_OF_THE_HUB", "x")
    script = tmp_path / "plugin.py"
    script.write_text(SCRIPT)
    plugins = {
        "made": (sys.executable, str(script)),
        "looks": (sys.executable, "-c", LOOKS),
        "fails": (sys.executable, "-c", "raise SystemExit('no luck')"),
    }
    async with WorkerPool(programs=Programs(plugins=plugins)) as pool:
        made = Desk(tmp_path / "repo", pool)
        made.write("web/input.txt", "hello")
        yield made


async def test_s6_a_plugin_prints_objects_and_has_no_network_and_no_secrets(desk: Desk) -> None:
    found = await desk.render({"path": "web", "plugin": {"name": "made", "parameters": {"replicas": "3"}}})
    assert found.objects[0]["data"] == {
        "text": "hello",
        "cluster": "eu1",
        "net": "closed",
        "replicas": "3",
        "param": "3",
        "inherited": "",
        "zone": "UTC",
    }


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("gone", "UnknownPlugin", "no plugin gone is registered on this hub; there are: fails, looks, made"),
        ("fails", "PluginFailed", "no luck (layer: plugin fails)"),
    ],
)
async def test_what_fails_is_told(desk: Desk, name: str, reason: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        await desk.render({"path": "web", "plugin": {"name": name}})
    assert caught.value.reason == reason
    assert message in str(caught.value)


def test_a_source_has_one_tool() -> None:
    from pydantic import ValidationError  # noqa: PLC0415 - this test alone

    from hub.api.source import Source  # noqa: PLC0415

    with pytest.raises(ValidationError, match="one tool a source: helm and plugin are named"):
        Source.model_validate({"repoURL": "https://a/b", "helm": {}, "plugin": {"name": "x"}})


async def test_s6_a_plugin_sees_no_other_renderings_folder(desk: Desk) -> None:
    """It may leave a process running, which is there while the next one's files are, those that were encrypted too."""
    found = await desk.render({"path": "web", "plugin": {"name": "looks"}})
    assert found.objects[0]["data"] == {"own": "['input.txt']", "above": "PermissionError"}
