"""A thin Kubernetes client for hub and agent: REST, credentials, discovery, caches, YAML, selectors."""
