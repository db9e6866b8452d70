"""Who lets an app go by force: for one target, as one release."""

from __future__ import annotations

import pytest

from agent.contract.names import ANNOTATION_FORCE_RELEASE
from hub.operator.nodes import forced_by
from hub.operator.state import Target

ONE, TWO = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("value", "target", "released", "release", "who"),
    [
        (f"{TWO}/4/ann", TWO, ONE, 3, "ann"),
        (f"{TWO}/4/ann/of/ops", TWO, ONE, 3, "ann/of/ops"),
        (f"{TWO}/4/ann", TWO, TWO, 4, "ann"),  # told in the history of what was released so
        (f"{TWO}/4/ann", TWO, ONE, 5, ""),  # it went elsewhere since: another release has to be asked for
        (f"{TWO}/4/ann", TWO, ONE, 4, ""),  # another digest became that release
        (f"{TWO}/4/ann", ONE, TWO, 3, ""),  # the target is another by now
        (f"{TWO}/4/", TWO, ONE, 3, "somebody"),
        (f"{TWO}/ann", TWO, ONE, 3, ""),
        (TWO, TWO, ONE, 3, ""),
        ("", "", "", 0, ""),
    ],
)
def test_force_means_one_target_as_one_release(
    value: str, target: str, released: str, release: int, who: str
) -> None:
    obj = {"metadata": {"annotations": {ANNOTATION_FORCE_RELEASE: value}}}
    assert forced_by(obj, Target(1, target), digest=released, release=release) == who
    assert forced_by(obj, None, digest=released, release=release) == ""
