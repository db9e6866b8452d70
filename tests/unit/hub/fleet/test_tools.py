from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.fleet import tools

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with nothing on it."""
    for name in ("AXLETREE_KUSTOMIZE", "AXLETREE_HELM", "AXLETREE_SOPS", "AXLETREE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AXLETREE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_without_any_program_there_is_none() -> None:
    assert tools.find_programs() == tools.Programs()


def test_what_is_there_is_found_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kubectl = program(tmp_path / "bin" / "kubectl")
    assert tools.find_programs().kustomize == (kubectl, "kustomize")
    beside = program(tmp_path / "cache" / "controlplane" / "abc" / "kubectl")
    assert tools.find_programs().kustomize == (beside, "kustomize")
    installed = program(tmp_path / "bin" / "kustomize")
    assert tools.find_programs().kustomize == (installed, "build")
    made = program(tools.built() / "kustomize")
    assert tools.find_programs().kustomize == (made, "build")
    monkeypatch.setenv("AXLETREE_KUSTOMIZE", "/opt/kustomize")
    assert tools.find_programs().kustomize == ("/opt/kustomize", "build")


def test_helm_is_used_only_where_somebody_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    helm = program(tmp_path / "bin" / "helm")
    assert tools.find_programs().helm == ""
    monkeypatch.setenv("AXLETREE_HELM", "helm")
    assert tools.find_programs().helm == helm
    monkeypatch.setenv("AXLETREE_HELM", "/opt/helm")
    assert tools.find_programs().helm == "/opt/helm"


async def test_what_is_built_is_not_built_again() -> None:
    made = tools.built()
    made.mkdir(parents=True)
    assert await tools.ensure_tools() == made


def test_plugins_are_the_administrators(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "plugins.yaml"
    monkeypatch.setenv("AXLETREE_PLUGINS", str(file))
    file.write_text("cue: [/usr/bin/cue, export]\n")
    assert tools.find_programs().plugins == {"cue": ("/usr/bin/cue", "export")}
    for text in ("cue: cue export", "cue: [cue]", "- cue", "a: ["):
        file.write_text(text)
        with pytest.raises(tools.InvalidPlugins):
            tools.find_programs()
