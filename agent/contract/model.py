"""The base of everything that crosses a wire: camelCase outside, snake_case inside, unknown fields ignored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class WireModel(BaseModel):
    """Unknown fields are ignored, since the two sides are never upgraded at the same moment."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, use_enum_values=False
    )

    def wire(self) -> dict[str, object]:
        """As JSON-ready data by wire names, without what is unset or none."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
