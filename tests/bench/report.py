"""The table, where the time went, and the results that are kept."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tests.bench.measure import OTHERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from tests.bench.rows import Result, Sample

LATEST = "latest.json"
HISTORY = "history"
_FEW = 2


def show_table(console: Console, results: Sequence[Result], before: Mapping[str, float]) -> None:
    table = Table(title="Axletree", title_justify="left")
    for name in ("work", "value", "target", "met", "before", "peer"):
        table.add_column(name, justify="left" if name in ("work", "peer") else "right")
    for each in results:
        row = each.row
        table.add_row(
            row.name,
            f"{_number(each.value)} {row.unit}",
            f"{row.target:g} {row.unit}",
            "[green]yes[/]" if each.met else "[red]no[/]",
            _change(each.value, before.get(row.name)),
            row.peer,
        )
    console.print(table)


def show_phases(console: Console, result: Result) -> None:
    """Where the time went in the run that is nearest to the median."""
    sample = result.typical
    values = ", ".join(_number(each.value) for each in result.samples)
    console.print(f"\n[bold]{result.row.id}[/] {result.row.name}: {values} {result.row.unit}  {sample.note}")
    if sample.phases:
        table = Table(box=None, pad_edge=False)
        for name in ("step", "first ms", "last ms", "times"):
            table.add_column(name, justify="left" if name == "step" else "right")
        for phase in sample.phases:
            table.add_row(phase.step, f"{phase.first:.0f}", f"{phase.last:.0f}", str(phase.count))
        console.print(table)
    if sample.cpu:
        console.print(_cpu(sample))
    if sample.requests:
        shown = [f"{count} {what}" for what, count in sample.requests.items() if count >= _FEW]
        console.print(f"API servers: {', '.join(shown)}", highlight=False)


def to_wire(results: Sequence[Result]) -> list[dict[str, Any]]:
    """What `latest.json` holds."""
    return [
        {
            "name": each.row.name,
            "value": round(each.value, 3),
            "unit": each.row.unit,
            "target": each.row.target,
            "peer": each.row.peer,
            "met": each.met,
        }
        for each in results
    ]


def previous(folder: Path) -> dict[str, float]:
    """The values by name of the last results that were kept."""
    try:
        entries = json.loads((folder / LATEST).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {entry["name"]: float(entry["value"]) for entry in entries}


def keep(folder: Path, results: Sequence[Result], machine: Mapping[str, str]) -> None:
    """Rows that were not measured this time keep their last value in `latest.json`."""
    (folder / HISTORY).mkdir(parents=True, exist_ok=True)
    fresh = to_wire(results)
    try:
        entries: list[dict[str, Any]] = json.loads((folder / LATEST).read_text())
    except (FileNotFoundError, ValueError):
        entries = []
    measured = {entry["name"]: entry for entry in fresh}
    merged = [measured.pop(entry["name"], entry) for entry in entries]
    (folder / LATEST).write_text(json.dumps([*merged, *measured.values()], indent=2) + "\n")
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    detail = {
        "at": moment,
        "machine": dict(machine),
        "rows": [
            entry | {"samples": [_sample(sample) for sample in each.samples]}
            for entry, each in zip(fresh, results, strict=True)
        ],
    }
    (folder / HISTORY / f"{moment}.json").write_text(json.dumps(detail, indent=1) + "\n")


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "value": sample.value,
        "load": sample.load,
        "cpu": sample.cpu,
        "window": sample.window,
        "requests": sample.requests,
        "note": sample.note,
        "phases": [
            {"step": phase.step, "first": phase.first, "last": phase.last, "count": phase.count}
            for phase in sample.phases
        ],
    }


def _cpu(sample: Sample) -> str:
    """CPU by part; what it means for the figure on a machine that has other work, too."""
    parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in sample.cpu.items() if name != OTHERS)
    cores = len(os.sched_getaffinity(0))
    ours = sum(sample.cpu.values()) - sample.cpu[OTHERS]
    foreign = sample.cpu[OTHERS] / (cores * sample.window)
    return (
        f"CPU in {sample.window:.2f} s: {parts}; together {ours:.2f} s, for which {cores} cores need "
        f"{ours / cores:.2f} s; others took {foreign:.0%} of the machine, load average {sample.load:.1f}"
    )


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _change(value: float, before: float | None) -> str:
    return "" if not before else f"{_number(before)} ({(value - before) / before:+.0%})"
