from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from hub.render.explain import ABSENT
from hub.render.explaining import Question
from hub.render.pool import WorkerPool
from tests.unit.hub.render.desk import Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata:\n  host: %s\n"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with WorkerPool() as pool:
        made = Desk(tmp_path / "repo", pool)
        for name, lines in (("one", 1), ("two", 4)):
            made.write(f"{name}/Chart.yaml", f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n")
            made.write(f"{name}/values.yaml", "# said\n" * lines + "host: default\n")
            made.write(f"{name}/prod.yaml", "# said\n" * lines * 2 + "host: prod\n")
            made.write(f"{name}/templates/c.yaml", CONFIG % (name, "{{ .Values.host }}"))
        yield made


async def _told(desk: Desk, *sources: dict[str, object], name: str) -> list[tuple[str, object, object, str]]:
    request = await desk.request(*sources)
    question = Question("ConfigMap", name, ".data.host")
    found = await cast("WorkerPool", desk.runner).explain(request, question)
    return [(one.stage, None if one.before is ABSENT else one.before, one.after, one.at) for one in found]


async def test_each_of_several_charts_has_its_own_files_and_lines(desk: Desk) -> None:
    """The files of both have the same names, and say the same in other places."""
    sources = [{"path": name, "helm": {"valueFiles": ["prod.yaml"]}} for name in ("one", "two")]
    assert await _told(desk, *sources, name="one") == [
        ("source 1: chart defaults", None, "default", "values.yaml:2"),
        ("source 1: prod.yaml", "default", "prod", "prod.yaml:3"),
    ]
    assert await _told(desk, *sources, name="two") == [
        ("source 2: chart defaults", None, "default", "values.yaml:5"),
        ("source 2: prod.yaml", "default", "prod", "prod.yaml:9"),
    ]


async def test_an_object_with_a_longer_name_has_a_story_of_its_own(desk: Desk) -> None:
    desk.write("web/a.yaml", CONFIG % ("web", "here"))
    desk.write("admin/a.yaml", f"# said\n{CONFIG % ('web-admin', 'here')}")
    sources: list[dict[str, object]] = [{"path": "web"}, {"path": "admin"}]
    assert await _told(desk, *sources, name="web") == [("source 1: files", None, "here", "a.yaml:5")]
    assert await _told(desk, *sources, name="web-admin") == [("source 2: files", None, "here", "a.yaml:6")]


async def test_values_of_a_config_map_are_not_looked_for_in_the_charts_own_file(desk: Desk) -> None:
    metadata = {"name": "base", "namespace": "shop"}
    values = "# said\n# said\n# said\nhost: given\n"
    desk.write("one/values.yaml", "host: default\nother: given\n")
    desk.objects.append({"kind": "ConfigMap", "metadata": metadata, "data": {"values.yaml": values}})
    source = {"path": "one", "helm": {"valuesFrom": [{"kind": "ConfigMap", "name": "base"}]}}
    told = await _told(desk, source, name="one")
    assert told[1] == (
        "ConfigMap shop/base: values.yaml",
        "default",
        "given",
        "ConfigMap shop/base: values.yaml:4",
    )
