"""Which tests prove which named cases: read from the tests' names, written into `docs/cases.md`.

A test names its cases at the start: `test_a9_second_apply_writes_nothing`, `test_a6_f37_...`, `test_f5_to_f8_...`,
`test_h_...`. `python -m tests.cases` rewrites the table's last column; a test fails where it is not current.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cases.md"
NOT_YET = "not yet"

_ROW = re.compile(r"^\| (?P<case>[AFSI][0-9]{1,2}|H) \| (?P<text>.*?) \| (?P<tests>[^|]*) \|$")
_HEAD = re.compile(r"test_(?P<cases>(?:(?:[afsi][0-9]{1,2}|h|to)_)+)")


def all_tests() -> set[str]:
    """Every test function below tests/ and e2e/."""
    return {
        node.name
        for folder in ("tests", "e2e")
        for path in sorted((ROOT / folder).rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def cases_of(test: str) -> set[str]:
    """`test_f5_to_f8_...` -> F5 F6 F7 F8; nothing for a test that names no case."""
    found = _HEAD.match(test)
    if found is None:
        return set()
    words = found["cases"].strip("_").upper().split("_")
    cases = {word for word in words if word != "TO"}
    for index, word in enumerate(words):
        if word == "TO" and 0 < index < len(words) - 1:
            first, last = words[index - 1], words[index + 1]
            cases |= {f"{first[0]}{number}" for number in range(int(first[1:]), int(last[1:]) + 1)}
    return cases


def tests_by_case() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for test in sorted(all_tests()):
        for case in cases_of(test):
            found.setdefault(case, []).append(test)
    return found


def rendered(page: str) -> str:
    """The page with the last column as the tests are now."""
    known = tests_by_case()
    lines = []
    for line in page.splitlines():
        row = _ROW.match(line)
        if row is not None:
            names = known.get(row["case"], [])
            column = "<br>".join(f"`{name}`" for name in names) or NOT_YET
            lines.append(f"| {row['case']} | {row['text']} | {column} |")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def listed(page: str) -> list[str]:
    """The cases that the page has a row for, in order."""
    return [row["case"] for line in page.splitlines() if (row := _ROW.match(line))]


def main() -> None:
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
