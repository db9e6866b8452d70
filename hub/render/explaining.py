"""What a worker does where somebody asks which layer made a field: all of it, so that only the answer comes out.

Values of Secrets, and what came from a Secret or an encrypted file, are hidden before anything leaves the process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hub.render.confidential import Confidential
from hub.render.explain import ABSENT, TooMuchToTell, Touch, explain, find_object, parse_path, texts_of
from hub.render.pipeline import render_with
from hub.render.plain import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.render.pipeline import RenderRequest, Tools

MAX_ANSWER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Question:
    """An object of an Application, by kind and name, and one field of it (empty: all)."""

    kind: str
    name: str
    field: str = ""

    def to_wire(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "field": self.field}

    @staticmethod
    def from_wire(data: Mapping[str, str]) -> Question:
        return Question(data["kind"], data["name"], data["field"])


def answered(request: RenderRequest, question: Question, tools: Tools) -> list[dict[str, Any]]:
    """The touches as they go over the wire, without any secret value.

    Raises `ManifestError`, `NoSuchObject`, `NoSuchField`, `TooMuchToTell`; their words hold none either.
    """
    path = parse_path(question.field)
    secret = Confidential()
    try:
        done = render_with(replace(request, stages=True), tools, secret)
    except ManifestError as error:
        raise secret.without(error) from None  # the first one's text may hold a value
    target = find_object(done.objects, question.kind, question.name)
    texts = texts_of(request.sources)
    found = [_hidden(one, secret).to_wire() for one in explain(done.stages, target, path, texts=texts)]
    if len(json.dumps(found)) > MAX_ANSWER:
        raise TooMuchToTell("the answer is too large: name a field, such as .spec.template")
    return found


def _hidden(touch: Touch, secret: Confidential) -> Touch:
    return replace(
        touch,
        path=tuple(secret.hidden(touch.path)),
        before=touch.before if touch.before is ABSENT else secret.hidden(touch.before),
        after=touch.after if touch.after is ABSENT else secret.hidden(touch.after),
    )
