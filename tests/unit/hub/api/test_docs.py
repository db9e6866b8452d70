from __future__ import annotations

from hub.api import docs
from hub.api.registry import KINDS


def test_the_reference_page_is_current() -> None:
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page(), "run `python -m hub.api.docs`"


def test_every_kind_and_its_deepest_fields_are_there() -> None:
    page = docs.page()
    for kind in KINDS:
        assert f"\n## {kind}\n" in page
    assert "`generators[].matrix.generators[].git.directories[].path`" in page
    assert "`sync.target`" in page, "status that the CRD leaves open is described, too"
