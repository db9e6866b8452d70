"""What agents call: identity, join, assignments, bundles, reports, and whether they are there."""
