"""Local fleets: real control planes on this machine, as processes or in kind."""
