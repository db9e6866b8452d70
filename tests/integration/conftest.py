"""Fixtures of this folder's rigs."""

from tests.integration.git_rig import author, server, source, sources

__all__ = ["author", "server", "source", "sources"]
