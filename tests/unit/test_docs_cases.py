"""The pages that name tests: they cannot claim one that does not exist, nor hide one that does."""

from __future__ import annotations

import re

from tests import cases

DOCS = cases.ROOT / "docs"
ALL = [
    *(f"A{number}" for number in range(1, 47)),
    "H",
    *(f"F{number}" for number in range(1, 49)),
    *(f"S{number}" for number in range(1, 13)),
]


def test_every_named_case_has_its_row_in_order() -> None:
    assert cases.listed(cases.PAGE.read_text(encoding="utf-8")) == ALL


def test_the_table_is_what_the_tests_names_say() -> None:
    page = cases.PAGE.read_text(encoding="utf-8")
    assert page == cases.rendered(page), "run `python -m tests.cases`"


def test_every_test_that_a_page_names_exists() -> None:
    known = cases.all_tests()
    named = {
        (path.name, name)
        for path in sorted(DOCS.rglob("*.md"))
        for name in re.findall(r"`(test_[a-z0-9_]+)`", path.read_text(encoding="utf-8"))
    }
    missing = sorted((page, name) for page, name in named if name not in known)
    assert missing == []
    assert named


def test_names_are_read_as_they_are_meant() -> None:
    assert cases.cases_of("test_a9_second_apply_writes_nothing") == {"A9"}
    assert cases.cases_of("test_a6_f37_a_failing_group") == {"A6", "F37"}
    assert cases.cases_of("test_f5_to_f8_anything") == {"F5", "F6", "F7", "F8"}
    assert cases.cases_of("test_h_pods_say_why") == {"H"}
    assert cases.cases_of("test_a_plain_name") == set()
