"""What Git's words about a failure mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.sources.credentials import Credentials
from hub.sources.errors import RepositoryDenied
from hub.sources.process import GitRunner, Outcome
from hub.sources.remote import Remote
from hub.sources.urls import RepoUrl

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("user", ["u", "name", "robot-7f3"])
def test_a_refusal_is_one_whatever_the_user_is_called(tmp_path: Path, user: str) -> None:
    remote = Remote(RepoUrl.parse("https://git.example.com/shop"), GitRunner(tmp_path), tmp_path)
    said = f"fatal: could not read Username for 'https://git.example.com': refused to {user}"
    found = remote.failure(Outcome(128, said), Credentials(user, "hunter2"), 1.0)
    assert type(found) is RepositoryDenied
    assert str(found).endswith(" to ***")
