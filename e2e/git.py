"""What the tests commit to the sample's repository, and how the hub is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.fleet import sample

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SET = """\
apiVersion: axletree.dev/v1alpha1
kind: ApplicationSet
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  generators:
    - matrix:
        generators:
          - clusters: {{clusterSet: prod}}
          - git:
              repoURL: {url}
              revision: main
              directories: [{{path: "{name}/*"}}]
  template:
    metadata:
      name: "{{{{ path.basename }}}}-{{{{ cluster.name }}}}"
      labels: {{app: "{{{{ path.basename }}}}"}}
    spec:
      cluster: "{{{{ cluster.name }}}}"
      namespace: "shop-{{{{ path.basename }}}}"
      sources: [{{repoURL: "{url}", revision: main, path: "{{{{ path.path }}}}"}}]
      sync: {{createNamespace: true}}
  templatePatch: |
    {{% set needs = {needs} %}}
    {{% if path.basename in needs %}}
    spec:
      dependsOn:
        - selector: {{matchLabels: {{app: "{{{{ needs[path.basename] }}}}"}}}}
          clusters: {{scope: Same}}
    {{% endif %}}
"""
_CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: {app}}}
data: {{value: "1"}}
"""
_TENANT = """\
apiVersion: v1
kind: Namespace
metadata: {{name: {name}}}
---
apiVersion: axletree.dev/v1alpha1
kind: Project
metadata: {{name: project, namespace: {name}}}
spec:
  sourceRepos: ["{url}"]
  destinations: [{{clusterSet: prod, namespaces: ["shop-*"]}}]
  serviceAccount: shop-deployer
---
"""
Files = dict[str, str | None]
"""Path -> its new content; None deletes it."""


class Checkout:
    """The clone that `axle up` leaves for people."""

    def __init__(self, folder: Path, *, url: str) -> None:
        self.folder = folder
        self.url = url

    async def git(self, *arguments: str) -> str:
        return await sample.git("-C", str(self.folder), *arguments)

    async def head(self) -> str:
        return await self.git("rev-parse", "HEAD")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def changed(self, name: str, old: str, new: str) -> str:
        """The file's content with one thing replaced, which must be there."""
        text = self.read(name)
        assert old in text, f"{name} does not have {old!r}"
        return text.replace(old, new)

    def retagged(self, tags: Mapping[str, str]) -> Files:
        """New tags for images of the shop: app -> tag."""
        files: Files = {}
        for app, tag in tags.items():
            name = f"shop/{app}/values.yaml"
            image = f"registry.example.com/shop/{app}"
            line = next(each for each in self.read(name).splitlines() if image in each)
            files[name] = self.changed(name, line.strip(), f"image: {image}:{tag}")
        return files

    async def push(self, message: str, files: Files) -> str:
        """Commit and push; the new commit."""
        for name, content in files.items():
            path = self.folder / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        await self.git("add", "--all")
        await self.git("commit", "--quiet", "--message", message)
        await self.git("push", "--quiet", "origin", "main")
        return await self.head()

    async def revert(self, commit: str) -> str:
        """`git revert`, pushed; the new commit."""
        await self.git("revert", "--no-edit", commit)
        await self.git("push", "--quiet", "origin", "main")
        return await self.head()

    async def first(self) -> str:
        """Bring back the content of the first commit, by a new one where it differs; the commit that has it."""
        first = (await self.git("rev-list", "--max-parents=0", "HEAD")).splitlines()[0]
        await self.git("reset", "--quiet", "--hard")
        await self.git("clean", "--quiet", "-d", "--force")
        await self.git("read-tree", "-u", "--reset", first)
        if await self.git("status", "--porcelain"):
            await self.git("commit", "--quiet", "--message", "Back to the sample")
        await self.git("push", "--quiet", "origin", "main")
        return await self.head()

    def planted(self, name: str, apps: Mapping[str, str], *, tenant: bool = False) -> Files:
        """One more ApplicationSet: directories NAME/* of Git x production clusters, a ConfigMap in each.

        `apps`: each with the one that it depends on, or nothing. It is `shop/NAME`; with `tenant` it has a
        namespace and a Project of its own, `NAME/NAME`.
        """
        namespace = name if tenant else "shop"
        needs = {app: first for app, first in apps.items() if first}
        manifests = _SET.format(name=name, namespace=namespace, url=self.url, needs=needs)
        if tenant:
            manifests = _TENANT.format(name=name, url=self.url) + manifests
        return {
            f"root/{name}.yaml": manifests,
            **{f"{name}/{app}/config.yaml": _CONFIG.format(app=app) for app in apps},
        }
