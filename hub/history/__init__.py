"""What was, and what is to be found quickly: deployments, events, audit, outputs and search, in SQL."""
