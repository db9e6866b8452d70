from __future__ import annotations

import pytest

from hub.cli.limits import TimedRunner
from hub.core.expansion import ClusterFacts, ExpandRequest, Expansion, ExpansionError

TEMPLATE = {
    "metadata": {"name": "x-{{ name }}"},
    "spec": {"cluster": "{{ name }}", "sources": [{"repoURL": "https://h/x"}]},
}


def request(patch: str) -> ExpandRequest:
    spec = {"generators": [{"clusters": {}}], "template": TEMPLATE, "templatePatch": patch}
    return ExpandRequest("shop", "apps", spec, clusters=(ClusterFacts("eu1"),))


async def test_s7_a_template_that_loops_is_stopped() -> None:
    loops = "".join(f"{{% for i{at} in range(9999) %}}" for at in range(4)) + "{% endfor %}" * 4
    with pytest.raises(ExpansionError, match=r"set shop/apps.*takes longer than 0.3 s"):
        await TimedRunner(seconds=0.3).expand(request(loops))
    assert isinstance(await TimedRunner(seconds=5).expand(request("")), Expansion)
