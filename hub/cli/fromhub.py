"""An Application of a hub, rendered here once more: for commands that tell how it came to be.

It renders what its revisions name now, with the cluster as the hub knows it, in a confined worker: its templates are
other people's. Repositories are read from where the Application says, with the hub's credentials for them, where
the person may read those; `--repo URL=DIR` reads one from a folder instead.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.contract.names import LABEL_CREDENTIALS, LABEL_VALUES
from hub.cli.connect import connected
from hub.cli.files import Document
from hub.cli.kinds import APPS, CLUSTERS
from hub.cli.names import parse, resolve
from hub.cli.render import RenderedApp
from hub.core.insert import with_known
from hub.fleet.tools import find_programs
from hub.operator import paths, views
from hub.render.hubvalues import GivenObjects
from hub.render.inputs import Inputs
from hub.render.pool import WorkerPool
from hub.sources.charts import ChartRepositories
from hub.sources.credentials import GitCredentials
from hub.sources.directory import DirectorySource
from hub.sources.dispatch import Sources
from hub.sources.git import GitSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.manifest import Manifest
    from agent.kube.client import RestClient
    from hub.core.model import ClusterView
    from hub.sources.credentials import Granted
    from hub.sources.port import Source


async def rendered_from_hub(
    name: str, *, namespace: str, kubeconfig: Path | None, folders: Mapping[str, Path]
) -> RenderedApp:
    """The Application of that name with all its stages."""
    async with connected(kubeconfig) as client:
        found = await resolve(client, parse(name, namespace=namespace, kinds=(APPS,)))
        document = Document("the hub", found.obj)
        cluster = await client.get(CLUSTERS.path("", str(found.obj["spec"]["cluster"])))
        secrets = (await client.list(paths.SECRETS, label_selector=LABEL_CREDENTIALS)).items
        objects = await _values(client, document)
    with tempfile.TemporaryDirectory(prefix="axle-") as scratch:
        granted = GitCredentials.of(secrets).granted(document.namespace)
        source = _source(Path(scratch), granted, folders)
        try:
            inputs = Inputs(source, GivenObjects([*objects, *secrets]))
            view = views.cluster_view(cluster, stale=False)
            done = await _rendered(document, view, source, inputs)
            return replace(done, cluster_document=Document("the hub", {"kind": "Cluster", **cluster}))
        finally:
            await source.close()


async def _values(client: RestClient, document: Document) -> list[Manifest]:
    """What its charts may take values from, read only where one does."""
    sources = document.obj["spec"].get("sources") or ()
    if not any((one.get("helm") or {}).get("valuesFrom") for one in sources):
        return []
    found: list[Manifest] = []
    for kind, path in (("Secret", paths.SECRETS), ("ConfigMap", paths.CONFIG_MAPS)):
        listed = await client.list(paths.namespaced(path, document.namespace), label_selector=LABEL_VALUES)
        found += [{**one, "kind": kind} for one in listed.items]
    return found


async def _rendered(document: Document, cluster: ClusterView, source: Source, inputs: Inputs) -> RenderedApp:
    bound = (document.obj.get("status") or {}).get("inputs") or ()
    spec = views.application_spec({"spec": with_known(document.obj["spec"], bound)})
    commits = {origin: await source.resolve(*origin) for origin in spec.origins()}
    found = await inputs.of(document.key, spec, cluster=cluster, commits=commits)
    request = await found.request(stages=True)
    async with WorkerPool(programs=find_programs()) as pool:
        return RenderedApp(document, spec.cluster, request, await pool.render(request))


def _source(scratch: Path, granted: Granted, folders: Mapping[str, Path]) -> Source:
    return Sources(
        git=GitSource(scratch / "git", credentials=granted.match, own_keys=True),
        charts=ChartRepositories(scratch / "charts", credentials=granted.match),
        folders=DirectorySource(folders),
        mapped=folders,
    )
