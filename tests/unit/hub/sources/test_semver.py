from __future__ import annotations

import pytest

from hub.sources.errors import RevisionRefused
from hub.sources.semver import Range, Version, is_range

TAGS = [
    "v0.9.0",
    "1.0.0",
    "v1.2.0",
    "1.2.3",
    "v1.3.0-rc.1",
    "1.10.0",
    "2.0.0",
    "2.1.0-beta",
    "latest",
    "0.0.3",
]


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("^1.2", "1.10.0"),
        ("~1.2", "1.2.3"),
        ("~1", "1.10.0"),
        ("1.2.x", "1.2.3"),
        ("1.x", "1.10.0"),
        ("*", "2.0.0"),
        (">=1.0,<1.3", "1.2.3"),
        (">1.2.3", "2.0.0"),
        (">1.2", "2.0.0"),
        ("<=1.2", "1.2.3"),
        ("<1.2.3", "v1.2.0"),
        ("!=2.0.0", "1.10.0"),
        ("=1.2.0", "v1.2.0"),
        ("^0.0.3", "0.0.3"),
        ("^0.9", "v0.9.0"),
        (">=2.1.0-alpha", "2.1.0-beta"),
        ("^1.3.0-rc", "1.10.0"),
        ("^3||~1.2", "1.2.3"),
        ("^3", None),
        (">= 1.0 < 1.3", "1.2.3"),
        (">= 1.0, < 1.3", "1.2.3"),
        ("1.0 - 1.2", "1.2.3"),
        ("1.0.0 - 1.2.0", "v1.2.0"),
        ("!=1.2.3,1.0 - 1.2", "v1.2.0"),
        ("^3 || 1.0 - 1.2", "1.2.3"),
        ("1.x || 0.x", "1.10.0"),
        # one term that names a pre-release is enough for its alternative, and for no other
        (">=1.0.0-0 <3", "2.1.0-beta"),
        (">=1.0.0-0 <2 || <1.0", "1.10.0"),
        (">=0.5.0-0 <1 || <1.4", "1.2.3"),
        (">1.9 <=2.0.0-0", "1.10.0"),
        (">=1.3.0-0 <=1.3", "v1.3.0-rc.1"),
        (">2.0 >=2.0.0-0", "2.1.0-beta"),
        ("~0.0.0", "2.0.0"),
    ],
)
def test_the_highest_that_is_meant(text: str, best: str | None) -> None:
    assert is_range(text)
    assert Range.parse(text).best(TAGS) == best


def test_versions_in_order() -> None:
    texts = [
        "1.0.0-1",
        "1.0.0-2",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-beta",
        "1.0.0",
        "1.0.1",
        "1.1.0",
        "2",
    ]
    versions = [Version.parse(text) for text in reversed(texts)]
    assert [one.text for one in sorted(one for one in versions if one)] == texts


@pytest.mark.parametrize("text", ["main", "1.2.3", "v1.2", "release-1.x", "feature/x", "HEAD", "a" * 40])
def test_names_are_no_ranges(text: str) -> None:
    assert not is_range(text)


@pytest.mark.parametrize(
    "text", ["^", ">=1.2.3.4", "^main", ",".join(["1"] * 40), "||", "~1.2.-1", "1.0 - ", ">= "]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(RevisionRefused):
        Range.parse(text)
