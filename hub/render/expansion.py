"""Expanding one set for real: the pure expansion asks for what it needs, and this reads it from Git."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hub.core.children import expand_request, validate_children
from hub.core.expansion import (
    Expansion,
    ExpansionError,
    GeneratorError,
    Listing,
    RepoRevision,
    RepositoryNotAllowed,
)
from hub.hosts.ask import Asking
from hub.render.checks import repository_allowed
from hub.render.signed import check_signed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.api.project import ProjectSpec
    from hub.core.model import Fleet
    from hub.core.needs import ExternalNeed, GitFilesNeed, GitListingNeed, Needs
    from hub.core.params import Params
    from hub.hosts.ask import Asker
    from hub.render.runner import Runner
    from hub.sources.port import Source

_MAX_NEEDS = 256
"""What one round may ask of hosts and plugins: a matrix multiplies its questions, too."""
_AT_ONCE = 8
_MAX_ROUNDS = 20
"""Each depth of generators that read Git takes two at most: a listing, then files."""


async def expand_set(
    namespace: str,
    name: str,
    spec: Mapping[str, Any],
    *,
    fleet: Fleet,
    source: Source,
    runner: Runner,
    fresh: bool = False,
    asker: Asker | None = None,
    part: bool = False,
) -> Expansion:
    """The children of one set, checked against the API's models, all read from one commit a revision.

    `fresh` asks repositories again. A project in the fleet bounds what generators may read; without one
    nothing bounds it: that there is one is the caller's rule. `asker` is who asks hosts and plugins; `part`
    says that the fleet is only some of the clusters. Raises `ExpansionError`, `RenderFailed` and the errors of
    `hub.sources` and `hub.hosts`.
    """
    request = replace(expand_request(namespace, name, spec, fleet), part=part)
    project, source = fleet.projects.get(namespace), source.seen_by(namespace)
    asking = Asking(namespace, name, project)
    for _ in range(_MAX_ROUNDS):
        result = await runner.expand(request)
        if isinstance(result, Expansion):
            validate_children(result.children, set_key=request.set_key)
            return result
        _check_allowed(result, project, set_key=request.set_key)
        listings = await asyncio.gather(
            *(_listing(source, need, project, fresh=fresh) for need in result.listings)
        )
        known = {**request.listings, **dict(listings)}
        texts = await asyncio.gather(
            *(_texts(source, need, known[need.repo_url, need.revision].commit) for need in result.files)
        )
        contents = dict(request.contents)
        for found in texts:
            contents |= found
        answers = await _answers(asker, result.external, asking, fresh=fresh)
        external = {**request.external, **answers}
        request = replace(request, listings=known, contents=contents, external=external)
    raise GeneratorError("its generators ask for ever more files", set_key=request.set_key)


def _check_allowed(needs: Needs, project: ProjectSpec | None, *, set_key: str) -> None:
    """Refuse before anything is read: what a generator sees, its author sees in names and statuses."""
    if project is None:
        return
    for need in needs.listings:
        if not repository_allowed(project, need.repo_url):
            raise RepositoryNotAllowed(
                f"repository {need.repo_url} is not among the project's sourceRepos", set_key=set_key
            )


async def _answers(
    asker: Asker | None, needs: Sequence[ExternalNeed], asking: Asking, *, fresh: bool
) -> dict[ExternalNeed, list[Params]]:
    if not needs:
        return {}
    if asker is None:
        raise GeneratorError(f"nobody is there whom {needs[0].kind} could ask", set_key=asking.set_key)
    if len(needs) > _MAX_NEEDS:
        raise GeneratorError(f"its generators would ask {len(needs)} times at once", set_key=asking.set_key)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def answer(need: ExternalNeed) -> list[Params]:
        async with gate:
            return await asker.answer(need, asking, fresh=fresh)

    try:
        rows = await asyncio.gather(*(answer(need) for need in needs))
    except ExpansionError as error:
        raise error.located(set_key=asking.set_key) from error
    return dict(zip(needs, rows, strict=True))


async def _listing(
    source: Source, need: GitListingNeed, project: ProjectSpec | None, *, fresh: bool
) -> tuple[RepoRevision, Listing]:
    commit = await source.resolve(need.repo_url, need.revision, fresh=fresh)
    await check_signed(source, project, need.repo_url, revision=need.revision, commit=commit)
    found = await source.listing(need.repo_url, commit)
    return (need.repo_url, need.revision), Listing(commit, tuple(found.files), tuple(found.dirs))


async def _texts(source: Source, need: GitFilesNeed, commit: str) -> dict[tuple[str, str, str], str]:
    read = await source.read(need.repo_url, commit, need.paths)
    try:
        return {(need.repo_url, need.revision, path): data.decode("utf-8-sig") for path, data in read.items()}
    except UnicodeDecodeError as error:
        raise GeneratorError(f"a file of {need.repo_url} is not UTF-8 text: {error}") from error
