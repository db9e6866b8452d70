"""What our kinds have a field for: anything else is taken out, with a note, whoever wrote it."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from hub.importers.notes import Notes


def fitted(value: Any, annotation: Any, notes: Notes, *, path: str) -> Any:
    """The value without keys that its model does not have. Texts are not looked at: they may be templates."""
    model, many = _model_of(annotation)
    if model is None:
        return value
    if many:
        if not isinstance(value, list):
            return value
        return [fitted(one, model, notes, path=f"{path}[{at}]") for at, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    fields = {one.alias or name: one for name, one in model.model_fields.items()}
    notes.lost_keys(value, fields, path)
    return {
        key: fitted(one, _annotation(fields[key]), notes, path=f"{path}.{key}")
        for key, one in value.items()
        if key in fields
    }


def _annotation(field: Any) -> Any:
    return field.annotation


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that is meant, and whether a list of it is."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin = get_origin(annotation)
    if origin is list:
        return _model_of(get_args(annotation)[0])[0], True
    if origin in (Union, types.UnionType):
        found = (_model_of(one) for one in get_args(annotation))
        return next((one for one in found if one[0] is not None), (None, False))
    if origin is Annotated:
        return _model_of(get_args(annotation)[0])
    return None, False
