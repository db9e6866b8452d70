"""What the hub keeps besides Kubernetes' objects: rendered bundles, and what was rendered from what."""
