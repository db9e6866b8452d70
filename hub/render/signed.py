"""What a project wants signed is verified before anything of it is read: by generators, and for each child."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.contract.errors import AxletreeError
from hub.api.source import referred
from hub.core.globs import glob_matches
from hub.hosts.events import identity
from hub.sources.errors import SignatureError
from hub.sources.signing import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.contract.manifest import Manifest
    from hub.api.project import ProjectSpec
    from hub.core.expansion import Child
    from hub.sources.port import Source


async def check_signed(
    source: Source, project: ProjectSpec | None, address: str, *, revision: str, commit: str
) -> None:
    """Raise `SignatureError` where the project wants this address signed, and this commit is not.

    `address` is a source's: a repository's, or a chart's with `#` and its name.
    """
    for rule in project.verify if project is not None else ():
        if any(covers(glob, address) for glob in rule.sources):
            named = (Identity(one.issuer, one.subject, rule.trusted_root) for one in rule.identities)
            await source.verify(address, commit, [*rule.keys, *named], revision=revision)


async def check_children_signed(
    source: Source, project: ProjectSpec | None, children: Iterable[Child]
) -> None:
    """The same for all that a set's children read. What does not resolve is told for the child that reads it."""
    if project is None or not project.verify:
        return
    for address, revision in sorted({origin for child in children for origin in _origins(child.manifest)}):
        try:
            commit = await source.resolve(address, revision)
            await check_signed(source, project, address, revision=revision, commit=commit)
        except SignatureError:
            raise
        except AxletreeError:
            continue


def _origins(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What one child reads, as `Source.address` and `Overlay.address` have it, without a model a child."""
    spec = manifest["spec"]
    overlay = spec.get("overlay")
    for one in (*spec["sources"], *([overlay] if overlay else ())):
        url, chart = one["repoURL"], one.get("chart")
        yield (
            f"{url.rstrip('/')}#{chart}" if chart else url,
            referred(one.get("revision", "HEAD"), one.get("digest", "")),
        )


def covers(glob: str, address: str) -> bool:
    """Whether a rule is for this address, in whatever spelling.

    One that demands something must not be evaded by another port, user, letter case or `.git`. A chart is covered
    by its repository's address, and by its own.
    """
    base, _, chart = address.partition("#")
    spelled = [base, f"{base.rstrip('/')}/{chart}"] if chart else [base]
    if any(glob_matches(glob, one) for one in spelled):
        return True
    plain = identity(glob)
    return bool(plain) and any(glob_matches(plain, identity(one)) for one in spelled)
