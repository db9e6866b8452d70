"""Fixtures of this folder."""

from tests.unit.hub.sources.chart_server import chart_server, charts

__all__ = ["chart_server", "charts"]
