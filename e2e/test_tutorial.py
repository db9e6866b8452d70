"""`docs/tutorial.md`, followed literally: every command of every console block, in one shell, as a reader would.

A line that starts with `$ ` is a command; the lines below it are expected in its output, in this order. `...` stands
for anything: inside a line, and as a line of its own. Without it, a command's lines follow each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
STAMP = ROOT / ".venv" / ".installed"
COMMAND_SECONDS = 400.0
"""More than what `axle up` and `axle wait` allow themselves, so that their own words are seen."""
EVIDENCE = """axle tree; for spoke in eu1 us1 lab1; do echo "-- $spoke"
kubectl --kubeconfig "$(axle kubeconfig $spoke --path)" get deployments,statefulsets,pods -A
kubectl --kubeconfig "$(axle kubeconfig $spoke --path)" get events -A --sort-by=.lastTimestamp | tail -n 15; done"""
"""What a command that failed leaves a reader to ask for: what the hub says, and what is really there."""
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """One command with what the page says about its output."""

    command: str
    line: int
    expected: list[str] = field(default_factory=list)

    def pattern(self) -> re.Pattern[str]:
        lines = [re.escape(line.strip()).replace(r"\.\.\.", ".*?") for line in self.expected]
        parts = [r"(?:.*\n)*?" if line == ".*?" else rf"[ \t]*{_spaced(line)}[ \t]*\n" for line in lines]
        return re.compile(r"(?:.*\n)*?" + "".join(parts))

    def check(self, output: str) -> None:
        ended = output if output.endswith("\n") else f"{output}\n"
        assert self.pattern().match(ended), (
            f"{PAGE.name}:{self.line}: $ {self.command}\n--- the page says\n"
            + "\n".join(self.expected)
            + f"\n--- it printed\n{output}"
        )


def _spaced(line: str) -> str:
    """Columns are as wide as they need to be: any number of blanks is as good as any other."""
    return re.sub(r"(?:\\ )+", r"[ \\t]+", line)


def steps(page: str) -> list[Step]:
    found: list[Step] = []
    for block in _BLOCK.finditer(page):
        first = page.count("\n", 0, block.start(1)) + 1
        begun = len(found)
        for number, line in enumerate(block[1].splitlines(), first):
            if line.startswith("$ "):
                found.append(Step(line[2:], number))
            else:
                assert len(found) > begun, f"{PAGE.name}:{number}: output before any command"
                found[-1].expected.append(line)
    return found


class Shell:
    """One bash, fed command by command; what each printed, and how it ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, environment: dict[str, str]) -> Self:
        process = await asyncio.create_subprocess_exec(
            *("bash", "--noprofile", "--norc"),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(process)

    async def run(self, command: str) -> tuple[int, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        mark = uuid.uuid4().hex
        text = f"{{ {command}\n}} < /dev/null\nprintf '\\n%s %s\\n' {mark} $?\n"
        self._process.stdin.write(text.encode())
        await self._process.stdin.drain()
        output: list[str] = []
        async with asyncio.timeout(COMMAND_SECONDS):
            while line := (await self._process.stdout.readline()).decode(errors="replace"):
                if line.startswith(mark):
                    return int(line.split()[1]), "".join(output).removesuffix("\n")
                output.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(output)}")

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        await self._process.wait()


@pytest.mark.fleet
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not STAMP.exists(), reason="`make up` would install: run `make` first")
def test_the_tutorial_works_as_it_is_written(spent: Path) -> None:
    """On the session's fleet: `make up` says the same of one that runs, and ends with `make down`."""
    asyncio.run(_follow(spent))


async def _follow(home: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        # A reader's shell: neither make's nor pytest's own, and no hub but the one of the page.
        if not name.startswith(("MAKE", "PYTEST", "COVERAGE")) and name not in {"KUBECONFIG", "MFLAGS"}
    }
    environment |= {
        "AXLETREE_HOME": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    environment.pop("AXLETREE_KUBECONFIG", None)
    shell = await Shell.start(environment)
    try:
        for step in steps(PAGE.read_text(encoding="utf-8")):
            code, output = await shell.run(step.command)
            if code:
                _, about = await shell.run(EVIDENCE)
                pytest.fail(
                    f"{PAGE.name}:{step.line}: $ {step.command}\nended with {code}:\n{output}\n{about}"
                )
            step.check(output)
    finally:
        await shell.end()


def test_the_page_is_read_as_it_says() -> None:
    (step, silent) = steps("```console\n$ x\na  b ...\n...\nend\n$ y\n```\n")
    assert (step.command, step.line, step.expected) == ("x", 2, ["a  b ...", "...", "end"])
    assert silent.expected == []
    step.check("before\na     b 12\nmore\nend\nafter\n")
    for wrong in ("a b 1\n", "end\na b 1\n", "a c\nend\n"):
        with pytest.raises(AssertionError, match="the page says"):
            step.check(wrong)
