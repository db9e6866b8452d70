from __future__ import annotations

import subprocess
import sys

import pytest

from agent.kube.document import read_document
from agent.kube.yaml import YamlError


@pytest.mark.parametrize("text", ['{"a": [1, "b"]}', "a: [1, b]", "{a: [1, b]}"])
def test_json_and_yaml_read_the_same(text: str) -> None:
    assert read_document(text.encode(), source="f") == {"a": [1, "b"]}


def test_a_broken_one_says_where() -> None:
    with pytest.raises(YamlError, match=r"f:2"):
        read_document(b'{"a": 1,\n "b": }}', source="f")


def test_json_does_not_load_the_yaml_parser() -> None:
    read = "from agent.kube.document import read_document; read_document(b'{}', source='')"
    code = f"import sys; {read}; print('yaml' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
