"""Links, commands and reasons in the pages: each leads somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from hub.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "e2e/sample/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _slug(heading: str) -> str:
    plain = re.sub(r"[`*\[\]]|\([^)]*\.md[^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {_slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in _LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^|`|\$ |&& )axle ([a-z]+)", text, re.MULTILINE))
    assert used <= set(COMMANDS), sorted(used - set(COMMANDS))


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {
        (page.name, target)
        for page in PAGES
        for target in re.findall(
            r"(?:^|`|\$ )make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert {pair for pair in used if pair[1] not in targets} == set()


def test_every_reason_is_explained() -> None:
    """A reason is what people search for: each one that the code can give is on the page."""
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([A-Z][A-Za-z]+)`", page))
    missing = sorted({reason for reason in _reasons() if reason not in explained})
    assert missing == []


def _reasons() -> set[str]:
    """Every class-level `reason = "..."` in the packages."""
    found = set()
    for path in sorted([*(ROOT / "agent").rglob("*.py"), *(ROOT / "hub").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found |= {
                    each.value.value
                    for each in node.body
                    if isinstance(each, ast.Assign)
                    and isinstance(each.targets[0], ast.Name)
                    and each.targets[0].id == "reason"
                    and isinstance(each.value, ast.Constant)
                    and isinstance(each.value.value, str)
                }
    return found
