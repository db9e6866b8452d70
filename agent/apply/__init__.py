"""Apply a bundle to a cluster and keep its inventory: pure planning, and one executor."""
