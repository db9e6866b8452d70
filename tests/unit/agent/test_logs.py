from __future__ import annotations

import asyncio
import json
import logging

import pytest

from agent.logs import JsonLines, about


@pytest.fixture
def as_json(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonLines())
    caplog.set_level(logging.INFO)


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """Without what differs from run to run."""
    found = [json.loads(line) for line in caplog.text.splitlines()]
    return [{key: one[key] for key in ("message", "application", "cluster") if key in one} for one in found]


@pytest.mark.usefixtures("as_json")
async def test_a_line_names_the_app_and_the_cluster_that_it_is_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("agent.test")

    async def work(app: str) -> None:
        with about(application=app):
            await asyncio.sleep(0)
            log.info("at work")
        log.info("done", extra={"application": f"{app}2"})

    with about(cluster="eu1"):
        task = asyncio.create_task(work("shop/web"))
    with about(cluster="us1"):
        await work("shop/db")
    await task
    log.info("nobody's")
    assert sorted(said(caplog), key=str) == sorted(
        [
            {"message": "at work", "application": "shop/web", "cluster": "eu1"},
            {"message": "done", "application": "shop/web2", "cluster": "eu1"},
            {"message": "at work", "application": "shop/db", "cluster": "us1"},
            {"message": "done", "application": "shop/db2", "cluster": "us1"},
            {"message": "nobody's"},
        ],
        key=str,
    )


@pytest.mark.usefixtures("as_json")
def test_what_is_raised_is_in_the_same_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        json.loads("{\n")
    except ValueError:
        logging.getLogger("agent.test").exception("it failed")
    (line,) = caplog.text.splitlines()
    assert "JSONDecodeError" in json.loads(line)["exception"]
    assert json.loads(line)["level"] == "error"
