"""The hub: expands, plans, releases, renders, and serves agents and people."""
