from __future__ import annotations

import pytest

from hub.core.globs import GlobError, glob_matches


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("apps/*", "apps/a", True),
        ("apps/*", "apps/a/b", False),
        ("apps/*", "apps", False),
        ("apps/**", "apps/a/b", True),
        ("apps/**", "apps", False),
        ("**/x.yaml", "x.yaml", True),
        ("**/x.yaml", "a/b/x.yaml", True),
        ("**/x.yaml", "a/bx.yaml", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("*.{yaml,yml}", "a.yml", True),
        ("*.{yaml,yml}", "a.json", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab]x", "bx", True),
        ("[!ab]x", "bx", False),
        ("[!ab]x", "/x", False),
        ("a.b", "axb", False),
        ("a,b}", "a,b}", True),
        ("https://git.example.com/shop/*", "https://git.example.com/shop/apps", True),
        ("https://git.example.com/shop/*", "https://git.example.com/shop-x/apps", False),
        ("https://git.example.com/**", "https://git.example.com/a/b/c", True),
    ],
)
def test_glob(pattern: str, path: str, *, expected: bool) -> None:
    assert glob_matches(pattern, path) is expected


@pytest.mark.parametrize("pattern", ["[a", "{a,b", "*" * 17, "a[]"])
def test_bad_globs(pattern: str) -> None:
    with pytest.raises(GlobError):
        glob_matches(pattern, "a")
