"""How long an agent waits, and what it is asked to wait."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from agent.link.backoff import Backoff
from agent.link.session import Answer

NOW = datetime(2026, 11, 22, 7, 0, 0, tzinfo=UTC).timestamp()


def test_f35_who_is_asked_to_wait_for_no_time_backs_off_all_the_same() -> None:
    backoff = Backoff(base=0.25, cap=20.0, source=random.Random(1))
    waits = [backoff.next(retry_after=0.0) for _ in range(20)]
    assert sum(waits) > 20.0
    assert 3.0 <= backoff.next(retry_after=3.0) <= 3.6


def test_f7_a_problem_that_is_nested_without_end_is_no_problem_of_the_hubs() -> None:
    answer = Answer(503, {"Content-Type": "application/problem+json"}, b"[" * 16384)
    assert answer.problem == ""
    assert answer.refused("the hub's keys").status == 503
