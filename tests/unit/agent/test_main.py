from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agent.config import AgentConfig, ConfigInvalid, load_config
from agent.main import main

if TYPE_CHECKING:
    from pathlib import Path


def _file(folder: Path, **content: object) -> Path:
    path = folder / "agent.yaml"
    path.write_text(json.dumps(content))
    return path


def test_a_file_reads_by_its_outside_names(tmp_path: Path) -> None:
    config = load_config(
        _file(tmp_path, cluster="eu-1", hubUrl="https://hub.example.com:8443/", labels={"a": "b"})
    )
    assert config.hub == "https://hub.example.com:8443"
    assert config.labels == {"a": "b"}
    assert config.join_token() is None


@pytest.mark.parametrize(
    "change",
    [
        {"hubUrl": "http://hub"},
        {"hubUrl": "https://user:pw@hub"},
        {"hubUrl": "https://hub/path"},
        {"cluster": "../x"},
        {"typo": 1},
        {"token": "secret-value", "tokenFile": "/x"},
    ],
)
def test_bad_settings_are_named_and_secrets_are_not(tmp_path: Path, change: dict[str, object]) -> None:
    path = _file(tmp_path, **{"cluster": "eu-1", "hubUrl": "https://hub", **change})
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    assert "secret-value" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_misuse_has_its_own_exit_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", str(tmp_path / "none")]) == 2
    line = json.loads(capfd.readouterr().err.splitlines()[0])
    assert line["level"] == "error"


def test_a_token_never_prints() -> None:
    config = AgentConfig(cluster="eu-1", hub_url="https://hub", token="axlt1.secret")
    assert "axlt1" not in repr(config)
