"""Files that say by their names that they are templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.core.model import ClusterView
from hub.render.plain import ManifestError
from hub.render.runner import InlineRunner
from tests.unit.hub.render.desk import Desk

if TYPE_CHECKING:
    from pathlib import Path

    from hub.render.programs import Programs

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {x: '%s'}\n"


@pytest.fixture
def desk(tmp_path: Path, programs: Programs) -> Desk:
    made = Desk(tmp_path, InlineRunner(programs))
    made.write("app/plain.yaml", MAP % ("plain", "{{ stays }}"))
    made.write("app/made.yaml.j2", MAP % ("made", "{{ cluster.values.n }} {{ values.a }}"))
    made.write("app/below/more.yml.j2", MAP % ("more", "{{ cluster.name }}"))
    made.write("app/notes.j2", "{{ nobody reads this")
    return made


async def test_templates_stand_beside_plain_files(desk: Desk) -> None:
    cluster = ClusterView("eu1", values={"n": 7})
    source = {"path": "app", "jinja": {"values": {"a": "b"}}}
    done = await desk.render(source, cluster=cluster, stages=True)
    assert {one["metadata"]["name"]: one["data"]["x"] for one in done.objects} == {
        "plain": "{{ stays }}",
        "made": "7 b",
    }
    assert [stage.name for stage in done.stages] == ["jinja2"]
    assert done.stages[0].origins["ConfigMap made"] == "made.yaml.j2"
    deep = await desk.render({"path": "app", "directory": {"recurse": True}, "jinja": {"values": {"a": 1}}})
    assert sorted(one["metadata"]["name"] for one in deep.objects) == ["made", "more", "plain"]


async def test_what_is_missing_is_told_with_file_line_and_params(desk: Desk) -> None:
    with pytest.raises(ManifestError) as caught:
        await desk.render({"path": "app"})
    assert (caught.value.file, caught.value.line, caught.value.layer) == ("made.yaml.j2", 4, "jinja2")
    assert '"n": 1' in caught.value.params


async def test_the_clusters_values_count_only_where_a_template_is(desk: Desk) -> None:
    """A cluster's value that changes renders templates again, and nothing else."""
    desk.write("flat/plain.yaml", MAP % ("plain", "x"))
    for path, same in (("app", False), ("flat", True)):
        identities = [
            (await desk.inputs({"path": path}, cluster=ClusterView("eu1", values={"n": n}))).identity()
            for n in (1, 2)
        ]
        assert (identities[0] == identities[1]) is same
