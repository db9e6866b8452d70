"""Files that several tests of offline commands read."""

from __future__ import annotations

from hub.fleet.sample import PLACEHOLDER, SAMPLE

CYCLE = """
apiVersion: axletree.dev/v1alpha1
kind: Application
metadata: {name: a-eu1, namespace: shop}
spec: {cluster: eu1, sources: [{repoURL: "https://h/x"}], dependsOn: [{name: b-eu1}]}
---
apiVersion: axletree.dev/v1alpha1
kind: Application
metadata: {name: b-eu1, namespace: shop}
spec: {cluster: eu1, sources: [{repoURL: "https://h/x"}], dependsOn: [{name: a-eu1}]}
"""
REPO = f"{PLACEHOLDER}={SAMPLE}"
