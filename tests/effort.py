"""How long randomised tests look: a moment in the suite, at the same places each time; for long in `make soak`."""

from __future__ import annotations

import os

from hypothesis import settings

FACTOR = int(os.environ.get("AXLETREE_EFFORT", "1"))


def effort(examples: int, *, steps: int = 50) -> settings:
    """Settings for a randomised test: `examples` in the suite, with at most `steps` of a state machine each."""
    return settings(max_examples=examples * FACTOR, stateful_step_count=steps, deadline=None)
