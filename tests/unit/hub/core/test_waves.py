"""The state table of rollouts, case by case, and the page that shows it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.contract.health import HealthState
from hub.api.dependency import Dependency
from hub.api.rollout import Rollout
from hub.core.gates import WaveGate
from hub.core.inversion import inversions
from hub.core.plan import parse_duration
from hub.core.waves import judge, waves_of
from tests.unit.hub.core.rollout_sim import Sim

ROOT = Path(__file__).resolve().parents[4]
PAGE = ROOT / "docs" / "rollouts.md"
CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "wave_cases.yaml").read_text())
BEGIN, END = "<!-- cases -->\n", "<!-- end of cases -->\n"
SPEC = {
    "waves": [
        {"name": "canary", "selector": {"matchLabels": {"ring": "0"}}, "soak": "10m"},
        {"name": "fleet"},
    ]
}


def fleet(case: dict[str, Any]) -> Sim:
    sim = Sim(Rollout.model_validate(case.get("spec", SPEC)), stale_policy=case.get("stale", "Wait"))
    sim.step()  # the set is there before its children are
    if case.get("installed", True):
        install(sim)
        for child in ("c1", "c2"):
            sim.report(child, HealthState.HEALTHY)
        sim.step()
        sim.wait(timedelta(minutes=10))
        sim.step()
        for child in ("f1", "f2", "f3"):
            sim.report(child, HealthState.HEALTHY)
            sim.step()
        if "fleet" in sim.states() and sim.states()["fleet"] == "AwaitingApproval":
            sim.approve("fleet")
            sim.step()
            for child in ("f1", "f2", "f3"):
                sim.report(child, HealthState.HEALTHY)
        sim.step()
        assert set(sim.states().values()) == {"Done"}, sim.states()
        sim.let_go.clear()
    return sim


def install(sim: Sim) -> None:
    for child in ("c1", "c2", "f1", "f2", "f3"):
        join(sim, child)
    sim.step()


def join(sim: Sim, child: str) -> None:
    sim.cluster(f"on-{child}", labels={"ring": "0" if child.startswith("c") else "1"})
    sim.join(child, f"on-{child}", target="one" if sim.plan < 5 else sim.node("c1").target)


def do(sim: Sim, text: str) -> None:  # noqa: C901, PLR0912 - a table of words
    match text.split():
        case ["install"]:
            install(sim)
        case ["nothing"]:
            sim.commit(sim.node("c1").target)
        case ["commit", *children]:
            sim.commit(f"commit-{sim.plan}", children or None)
        case ["revert"]:
            sim.commit("one")
        case ["refuse", child]:
            sim.refuse(child, "Render: bad")
        case ["wait", duration]:
            sim.wait(parse_duration(duration))
        case ["join", child]:
            join(sim, child)
        case ["stale", child]:
            sim.cluster(f"on-{child}", stale=True)
        case ["heard", child]:
            sim.cluster(f"on-{child}", stale=False)
        case ["approve", wave]:
            sim.approve(wave)
        case ["pause" | "resume" as word]:
            sim.paused = word == "pause"
        case ["restart"]:
            sim.restart()
        case [child, "old", "Healthy"]:
            assert sim.node(child).observed is not None  # what it said last is of its earlier release
        case [*children, health]:
            for child in children:
                sim.report(child, HealthState(health))
        case _:
            raise AssertionError(text)
    sim.step()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_state_table(case: dict[str, Any]) -> None:
    sim = fleet(case)
    for number, step in enumerate(case["steps"], 1):
        do(sim, step["do"])
        where = f"{case['case']}, step {number} ({step['do']})"
        assert sim.states() == {"canary": step["canary"], "fleet": step["fleet"]}, where
        assert sim.let_go == step.get("lets", []), where
        sim.let_go.clear()


def test_the_page_shows_the_state_table() -> None:
    lines = []
    for case in CASES:
        lines += [
            f"**{case['case']}**" + _terms(case),
            "",
            "| what happens | is let go | canary | fleet |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {step['do']} | {', '.join(step.get('lets', []))} | {step['canary']} | {step['fleet']} |"
            for step in case["steps"]
        ]
        lines.append("")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    wanted = before + BEGIN + "\n" + "\n".join(lines) + END + rest.partition(END)[2]
    if os.environ.get("AXLETREE_UPDATE"):
        PAGE.write_text(wanted, encoding="utf-8")
    assert text == wanted, "run this test with AXLETREE_UPDATE=1"


def _terms(case: dict[str, Any]) -> str:
    words = []
    for wave in case.get("spec", {}).get("waves", ()):
        words += [
            f"{wave['name']}: `{key}: {value}`"
            for key, value in wave.items()
            if key not in {"name", "selector"}
        ]
    if "onFailure" in case.get("spec", {}):
        words.append(f"`onFailure: {case['spec']['onFailure']}`")
    return f" ({', '.join(words)})" if words else ""


def test_why_a_wave_holds_is_told() -> None:
    sim = fleet({})
    do(sim, "commit")
    assert sim.held("f1") == "Wave: waits for wave canary to be done"
    do(sim, "c1 Degraded")
    assert sim.held("f1") == (
        "Wave: held by wave canary: 1 of its 2 children failed, its budget is 0: c1@on-c1 is Degraded"
    )
    do(sim, "c1 c2 Healthy")
    assert sim.held("f1") == "Wave: wave canary soaks until 2030-01-01T00:20:00Z"


def test_a_timeout_is_told_and_looked_for_in_time() -> None:
    sim = fleet({})
    do(sim, "commit")
    assert sim.judged.look_again == sim.now + timedelta(minutes=30)
    do(sim, "c1 c2 Progressing")
    do(sim, "wait 30m")
    assert "was to be Healthy within 30m" in sim.held("f1")


def test_what_no_wave_selects_goes_last_with_a_warning() -> None:
    sim = Sim(
        Rollout.model_validate({"waves": [{"name": "only", "selector": {"matchLabels": {"ring": "0"}}}]})
    )
    install(sim)
    assert sim.let_go == ["c1", "c2"]
    assert sim.judged.warnings == ("3 children are in no wave, and go last: f1@on-f1, f2@on-f2, f3@on-f3",)
    do(sim, "c1 c2 Healthy")
    assert sim.let_go == ["c1", "c2", "f1", "f2", "f3"]
    assert sim.states() == {"only": "Done", "rest": "Running"}


def test_an_edge_against_the_waves_is_an_inversion_with_its_path() -> None:
    sim = Sim(Rollout.model_validate(SPEC))
    sim.cluster("on-c1", labels={"ring": "0"})
    sim.cluster("on-f1", labels={"ring": "1"})
    edge = Dependency.model_validate({"name": "mid", "clusters": {"scope": "All"}})
    onward = Dependency.model_validate({"name": "f1", "clusters": {"scope": "All"}})
    sim.join("c1", "on-c1", "one", depends_on=(edge,))
    sim.join("f1", "on-f1", "one")
    sim.join("mid", "on-c1", "one", depends_on=(onward,))
    sim.step()
    assert sim.held("c1") == (
        "WaveInversion: wave canary would wait for wave fleet, which comes later: "
        "c1@on-c1 (canary) -> mid@on-c1 (canary) -> f1@on-f1 (fleet)"
    )
    assert sim.let_go == []


def test_names_of_waves_are_unique() -> None:
    for names in (["a", "a"], ["rest"]):
        with pytest.raises(ValueError, match="names of waves are unique"):
            Rollout.model_validate({"waves": [{"name": name} for name in names]})


def test_a_gate_has_no_say_about_others() -> None:
    sim = fleet({})
    judged = judge(sim.rollout, [], records={}, fleet=sim.fleet, now=sim.now)
    gate = WaveGate("shop/other", judged, inverted={})
    assert gate(sim.node("c1")) is None
    assert inversions(sim.graph, {"shop/other": ({}, [wave.name for wave in waves_of(sim.rollout)])}) == {}
