from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

from hub.main import arguments, settings_of
from hub.telemetry.logs import IDENTITY, JsonLines, Text, about


class Lines(logging.Handler):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def written(formatter: logging.Formatter) -> list[str]:
    log = logging.getLogger("hub.part.of.tests")
    log.propagate = False
    held = Lines(formatter)
    log.addHandler(held)

    async def child(name: str) -> None:
        with about(application=f"shop/{name}", cluster="eu1"):
            await asyncio.sleep(0)
            log.warning("it fails: %s", "one\ntwo")

    async def work() -> None:
        with about(applicationset="shop/shop"):
            await asyncio.gather(child("web"), child("api"))
            log.warning("of the set")
        log.warning("of one", extra={"application": "shop/db"})
        log.warning("of nothing")

    asyncio.run(work())
    log.removeHandler(held)
    return held.lines


def test_each_line_says_which_child_it_is_about() -> None:
    entries = [json.loads(line) for line in written(JsonLines())]
    named = [
        {name: value for name, value in each.items() if name not in ("time", "level", "logger")}
        for each in entries
    ]
    child = {"message": "it fails: one\ntwo", "applicationset": "shop/shop", "cluster": "eu1"}
    assert named == [
        child | {"application": "shop/web"},
        child | {"application": "shop/api"},
        {"message": "of the set", "applicationset": "shop/shop"},
        {"message": "of one", "application": "shop/db"},
        {"message": "of nothing"},
    ]
    assert {each["level"] for each in entries} == {"warning"}
    assert {each["logger"] for each in entries} == {"hub.part.of.tests"}


def test_the_line_on_the_page_is_such_a_line() -> None:
    page = (Path(__file__).parents[4] / "docs" / "operations" / "metrics.md").read_text()
    found = re.search(r"<!-- example: log -->\n```json\n(.*?)```", page, re.DOTALL)
    assert found is not None
    told = json.loads(found[1])
    record = logging.LogRecord(told["logger"], logging.INFO, "", 0, told["message"], None, None)
    with about(**{name: told[name] for name in IDENTITY}):
        entry = json.loads(JsonLines().format(record))
    assert entry | {"time": told["time"]} == told


def test_lines_for_people_are_one_each_whatever_a_message_holds() -> None:
    lines = written(Text())
    assert len(lines) == 5
    assert all("\n" not in line for line in lines)
    assert lines[0].endswith("it fails: one\\ntwo application=shop/web applicationset=shop/shop cluster=eu1")


def test_what_the_command_line_says_of_it() -> None:
    plain = arguments(["--data-dir", "/x"])
    assert plain.log_format == "json"
    assert settings_of(plain).kube_events is True
    assert settings_of(plain).metrics_port is None
    told = arguments(["--data-dir", "/x", "--log-format", "text", "--no-events", "--metrics-port", "9090"])
    assert told.log_format == "text"
    assert settings_of(told).kube_events is False
    assert settings_of(told).metrics_port == 9090
