"""From files to bundles: templates and manifests are read in limited worker processes."""
