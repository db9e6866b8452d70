"""The light base layer: what runs on a spoke, and what the hub shares with it."""
