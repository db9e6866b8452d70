"""Who generators ask: Git hosts, plugins, other controllers of the hub's cluster."""
