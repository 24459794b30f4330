"""A part of the profile file that also stores what follows from it, for readers without dcplan."""

from typing import Any

from pydantic import model_validator

from sim.parts import Part


class Stored(Part):
    """Computed fields are written; when read they are computed anew, so they never contradict the rest."""

    @model_validator(mode="before")
    @classmethod
    def _forget_what_is_computed(cls, written: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if not isinstance(written, dict):
            return written
        return {name: value for name, value in written.items() if name not in cls.model_computed_fields}
