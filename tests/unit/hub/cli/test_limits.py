from __future__ import annotations

from dataclasses import replace

import pytest

from hub.cli.limits import RepeatedRunner, TimedRunner
from hub.core.expansion import ClusterFacts, ExpandRequest, Expansion, ExpansionError, Listing

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
    assert isinstance(await TimedRunner(seconds=60).expand(request("")), Expansion)


async def test_a_set_whose_generators_read_the_same_is_expanded_once() -> None:
    runner = RepeatedRunner()
    where = ("https://h/x", "main")
    generators = [
        {
            "matrix": {
                "generators": [
                    {"clusters": {}},
                    {"git": {"repoURL": where[0], "revision": where[1], "directories": [{"path": "*"}]}},
                ]
            }
        }
    ]
    first = replace(request(""), listings={where: Listing("a" * 40, dirs=("one",))})
    first = replace(first, spec={**first.spec, "generators": generators})
    later = replace(first, listings={where: Listing("b" * 40, dirs=("one",))})
    more = replace(first, listings={where: Listing("b" * 40, dirs=("one", "two"))})
    relabelled = replace(first, clusters=(ClusterFacts("eu1", labels={"a": "b"}),))

    found, again = await runner.expand(first), await runner.expand(later)
    assert isinstance(found, Expansion)
    assert isinstance(again, Expansion)
    assert again.children is found.children
    assert again.revisions == {"https://h/x@main": "b" * 40}, "as of the commit that was asked for"
    assert again == await TimedRunner().expand(later)
    with pytest.raises(ExpansionError, match="two children are called"):
        await runner.expand(more)
    for other in (
        relabelled,
        replace(later, spec={**later.spec, "templatePatch": "metadata: {labels: {a: b}}"}),
    ):
        found = await runner.expand(other)
        assert isinstance(found, Expansion)
        assert found == await TimedRunner().expand(other)
        assert found.children is not again.children
