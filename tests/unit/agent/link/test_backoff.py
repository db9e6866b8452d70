"""How long an agent waits, and what it is asked to wait."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from agent.link.backoff import Backoff, seconds_asked
from agent.link.session import Answer

NOW = datetime(2026, 11, 22, 7, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("7", 7.0),
        ("0", 0.0),
        ("99999999999999", 3600.0),
        ("Sun, 22 Nov 2026 07:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 06:00:00 GMT", 0.0),
        ("Mon, 22 Nov 2027 06:00:00 GMT", 3600.0),
        ("-1", None),
        ("nan", None),
        ("soon", None),
    ],
)
def test_what_is_asked_is_read_as_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert seconds_asked(text, now=NOW) == seconds


def test_f35_who_is_asked_to_wait_for_no_time_backs_off_all_the_same() -> None:
    backoff = Backoff(base=0.25, cap=20.0, source=random.Random(1))
    waits = [backoff.next(retry_after=0.0) for _ in range(20)]
    assert sum(waits) > 20.0
    assert 3.0 <= backoff.next(retry_after=3.0) <= 3.6


def test_f7_a_problem_that_is_nested_without_end_is_no_problem_of_the_hubs() -> None:
    answer = Answer(503, {"Content-Type": "application/problem+json"}, b"[" * 16384)
    assert answer.problem == ""
    assert answer.refused("the hub's keys").status == 503
