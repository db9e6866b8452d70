"""The images' build files, as far as they can be judged without building them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.lean import LEAN

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "images").glob("*.Containerfile"))
COMPILERS = ("golang", "gcc", "build-essential", "go build")


def _lines(file: Path) -> list[str]:
    joined = file.read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def test_there_is_one_for_each_process() -> None:
    assert [file.stem for file in FILES] == ["agent", "hub"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_all_that_is_copied_is_there(file: Path) -> None:
    for line in _lines(file):
        words = line.split()
        if words[0] == "COPY" and not words[1].startswith("--from"):
            for source in words[1:-1]:
                assert (ROOT / source).exists(), line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_result_has_no_compiler_and_no_root(file: Path) -> None:
    lines = _lines(file)
    last = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert not [line for line in last if any(each in line for each in COMPILERS)]
    assert "USER 65532:65532" in last
    assert last[-1].startswith("ENTRYPOINT ")


def test_the_agents_image_is_compiled_as_the_agent_runs() -> None:
    """Else each start would compile everything: nothing can be written there."""
    level = f"-o {LEAN['PYTHONOPTIMIZE']} "
    compiled = [line for line in _lines(ROOT / "images" / "agent.Containerfile") if "compileall" in line]
    assert len(compiled) == 2  # ours and the libraries, and Python's own
    assert all(level in line for line in compiled)
