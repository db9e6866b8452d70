"""The controller: intake by kopf, caches by reflectors, reconcilers that call the core and write."""
