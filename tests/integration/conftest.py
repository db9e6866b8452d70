"""Fixtures of this folder's rigs."""

from tests.integration.api_rig import world
from tests.integration.git_rig import author, server, source, sources
from tests.unit.hub.sources.chart_server import chart_server, charts

__all__ = ["author", "chart_server", "charts", "server", "source", "sources", "world"]
