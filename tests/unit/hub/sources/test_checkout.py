"""A person's own checkout as it was, whatever its attributes and its configuration say."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from hub.sources.checkout import export
from hub.sources.errors import PathNotFound, RevisionNotFound

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    top = tmp_path / "mine"
    (top / "apps" / "web").mkdir(parents=True)
    (top / "apps" / "web" / "a.yaml").write_bytes(b"a: $Format:%H$\n")
    (top / "apps" / "hidden.yaml").write_text("b: 1\n")
    (top / "apps" / "link.yaml").symlink_to("web/a.yaml")
    (top / "other").mkdir()
    (top / "other" / "c").write_text("c")
    git(top, "init", "-q")
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "first")
    return top


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.yaml")}


def test_a_folder_is_as_it_was(checkout: Path, tmp_path: Path) -> None:
    before = below(checkout / "apps")
    (checkout / "apps" / "web" / "a.yaml").write_text("changed")
    git(checkout, "commit", "-q", "-a", "-m", "second")
    found = export(checkout / "apps", "HEAD~1", into=tmp_path / "out")
    assert below(found) == before
    assert (found / "link.yaml").is_symlink()
    assert not (found.parent / "other").exists()
    whole = export(checkout, "HEAD~1", into=tmp_path / "out")
    assert below(whole / "apps") == before
    with pytest.raises(PathNotFound):
        export(checkout / "apps" / "none", "HEAD", into=tmp_path / "out")
    with pytest.raises(RevisionNotFound):
        export(checkout / "apps", "nowhere", into=tmp_path / "out")


def test_s6_attributes_run_nothing_and_change_nothing(checkout: Path, tmp_path: Path) -> None:
    """Somebody else may have made the folder that a command is called in, or one above it."""
    before, mark = below(checkout / "apps"), tmp_path / "ran"
    attributes = "*.yaml filter=theirs export-subst\nhidden.yaml export-ignore\n"
    (checkout / ".git" / "info" / "attributes").write_text(attributes)
    (checkout / "apps" / ".gitattributes").write_text(attributes)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "attributes")
    script = tmp_path / "theirs"
    script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    script.chmod(0o755)
    for name in (
        "filter.theirs.smudge",
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "diff.theirs.textconv",
    ):
        git(checkout, "config", name, str(script))
    assert below(export(checkout / "apps", "HEAD", into=tmp_path / "out")) == before
    assert not mark.exists()
