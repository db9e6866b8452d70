"""The examples of the page on notifications are what the hub reads."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.kube.yaml import load_all
from hub.api.notification import Trigger
from hub.api.project import ProjectSpec
from hub.core.sinks import is_sink
from hub.core.templating import TemplateEngine
from hub.notify.message import Message
from hub.notify.rules import declared
from hub.notify.sinks import TYPES, Sinks

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "notifications.md"


def example(name: str) -> list[dict[str, Any]]:
    found = re.search(
        rf"<!-- example: {name} -->\n```yaml\n(.*?)```\n<!-- end -->", PAGE.read_text(), re.DOTALL
    )
    assert found is not None
    return load_all(found[1], source=name)


async def test_each_sink_of_the_page_is_one() -> None:
    held = {}
    for obj in example("sinks"):
        data = {key: base64.b64encode(value.encode()).decode() for key, value in obj["stringData"].items()}
        made = obj | {"data": data}
        assert is_sink(made)
        held[f"axletree-system/{obj['metadata']['name']}"] = made
    async with aiohttp.ClientSession() as session:
        sinks = Sinks(held.get, session, source="/x")
        for key in held:
            assert sinks.sender(key.partition("/")[2])
        events = sinks.get("events")
        assert events is not None
        assert events.allows("shop-eu")
        assert events.allows("payments")
        assert not events.allows("other")
    page = PAGE.read_text()
    assert all(f"`{each}`" in page for each in (*TYPES, *Trigger))


def test_the_rules_of_the_page_read_and_its_template_renders() -> None:
    (project,) = example("rules")
    ProjectSpec.model_validate(project["spec"])
    rules = declared(project)
    assert [rule.sink for rule in rules] == ["commits", "oncall", "events"]
    fields = dict.fromkeys(Message.__dataclass_fields__, "") | {
        "trigger": "Held",
        "name": "web",
        "cluster": "eu1",
    }
    text = TemplateEngine().text(rules[1].template, fields | {"message": "5 deletions are Held"})
    assert text.splitlines() == ["Held: web on eu1", "5 deletions are Held"]


@pytest.mark.parametrize("field", sorted(set(Message.__dataclass_fields__) - {"id"}))
def test_every_field_that_templates_see_is_on_the_page(field: str) -> None:
    assert f"`{field}`" in PAGE.read_text()
