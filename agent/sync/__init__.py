"""What keeps each app as it is assigned: work queue, watches, one app's round, and the agent as a whole."""
