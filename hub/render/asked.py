"""What a rendering was asked by, and its answer: cheaper than a render's key, which takes reading.

Whatever decides a rendering is part of the question, and so are the rules that are checked while its inputs are read.
It changes at least as often as the key.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

from agent.contract.canonical import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract.bundle import ApplyPolicy
    from hub.api.project import ProjectSpec
    from hub.core.model import ClusterView

_REMEMBERED = 20_000
_POLICIES = 1000

Question = tuple[Any, ...]
_Answer = TypeVar("_Answer")


class Asked(Generic[_Answer]):
    """The last answer to each question. Policies are compared, not hashed; equal ones are kept once."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Question, tuple[ApplyPolicy, _Answer]] = OrderedDict()
        self._policies: OrderedDict[bytes, ApplyPolicy] = OrderedDict()
        self._clusters: dict[str, tuple[ClusterView, str]] = {}
        self._projects: dict[str, tuple[ProjectSpec, str]] = {}

    def question(
        self,
        app_key: str,
        versions: tuple[str, ...],
        *,
        cluster: ClusterView,
        sealing_key: bytes,
        commits: Mapping[tuple[str, str], str],
        project: ProjectSpec | None,
    ) -> Question:
        """`versions` change with what else it is made from: the spec, objects of the hub, sealed inputs."""
        rules = self._of_project(app_key.partition("/")[0], project) if project is not None else ""
        return (
            app_key,
            versions,
            cluster.name,
            self._of_cluster(cluster),
            sealing_key,
            tuple(commits.items()),
            rules,
        )

    def known(self, question: Question, policy: ApplyPolicy) -> _Answer | None:
        """The answer, if it was the same policy then.

        Their fields are all there is to compare: pydantic looks at more, in twice the time.
        """
        found = self._answers.get(question)
        if found is None or not (found[0] is policy or vars(found[0]) == vars(policy)):
            return None
        self._answers.move_to_end(question)
        return found[1]

    def keep(self, question: Question, policy: ApplyPolicy, answer: _Answer) -> None:
        data = policy.model_dump_json().encode()
        kept = self._policies.setdefault(data, policy)
        self._answers[question] = (kept, answer)
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        if len(self._policies) > _POLICIES:
            self._policies.popitem(last=False)

    def _of_cluster(self, cluster: ClusterView) -> str:
        """A hash over what renderings see of a cluster, kept while that is the same: it may list a thousand APIs."""
        found = self._clusters.get(cluster.name)
        if found is None or not _alike(found[0], cluster):
            data = orjson.dumps(_seen(cluster), default=dict, option=orjson.OPT_NON_STR_KEYS)
            found = self._clusters[cluster.name] = (cluster, sha256_hex(data))
        return found[1]

    def _of_project(self, namespace: str, project: ProjectSpec) -> str:
        """A hash over the rules for what is read on the way: charts' dependencies."""
        found = self._projects.get(namespace)
        if found is None or found[0] is not project:
            rules = [project.source_repos, [one.to_json() for one in project.verify]]
            found = self._projects[namespace] = (project, sha256_hex(orjson.dumps(rules)))
        return found[1]


def _seen(cluster: ClusterView) -> list[Any]:
    return [cluster.labels, cluster.values, cluster.kubernetes_version, cluster.api_versions]


def _alike(one: ClusterView, other: ClusterView) -> bool:
    """Whether a hash over both would be equal. Values are not compared: 1 and true are equal to Python alone."""
    return one is other or (
        (one.values is other.values or not (one.values or other.values))
        and one.labels == other.labels
        and one.kubernetes_version == other.kubernetes_version
        and one.api_versions == other.api_versions
    )
