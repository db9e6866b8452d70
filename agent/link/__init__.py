"""The agent's side of the hub: identity, assignment, bundles, reports, and what the spoke keeps of them."""
