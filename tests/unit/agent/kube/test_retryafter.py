from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.kube.retryafter import seconds_asked

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
        ("inf", None),
        ("1e9", None),
        ("soon", None),
    ],
)
def test_what_is_asked_is_read_as_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert seconds_asked(text, now=NOW) == seconds
