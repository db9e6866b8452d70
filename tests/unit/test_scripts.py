"""The scripts that build, check and measure."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_RUN = re.compile(r"""python"? -m ((?:hub|agent|tests)[\w.]*)""")


def test_every_module_that_a_script_runs_does_something() -> None:
    """A module without an entry ends at once and well: a step that is never done."""
    texts = [
        (ROOT / "Makefile").read_text(),
        *(each.read_text() for each in (ROOT / "scripts").iterdir() if each.is_file()),
    ]
    named = {name for text in texts for name in _RUN.findall(text)}
    assert "hub.fleet.build" in named
    for name in sorted(named):
        path = ROOT / name.replace(".", "/")
        package = path / "__main__.py"
        assert package.exists() or '__name__ == "__main__"' in path.with_suffix(".py").read_text(), name
