#!/usr/bin/env bash
# Lock what each part installs, with hashes and without naming an index. Needs `uv`.
set -euo pipefail
cd "$(dirname "$0")/.."
common=(--quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-header --upgrade)
uv pip compile "${common[@]}" --extra hub --extra otel --extra dev pyproject.toml requirements/build.in -o requirements/dev.txt
uv pip compile "${common[@]}" --extra hub -c requirements/dev.txt --no-annotate pyproject.toml requirements/build.in -o requirements/hub.txt
uv pip compile "${common[@]}" -c requirements/dev.txt --no-annotate pyproject.toml requirements/build.in -o requirements/agent.txt
