"""What users write: frozen, with no stray fields, and with units where there are quantities."""

import math
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from sim.parts import FROM_TEXT, Bytes, Fraction, GpuSeconds, Part, PositiveSeconds, Seconds


class Lamp(Part):
    on_for: Seconds = 60.0
    burns: PositiveSeconds | None = None
    memory: Bytes = 0.0
    held: GpuSeconds = 0.0
    dimmed: Fraction = 0.0
    bulbs: int = Field(1, alias="count")
    manual: Path | None = None


def test_python_gives_si_floats() -> None:
    assert Lamp(on_for=3600.0).on_for == 3600.0


def test_text_has_units_everywhere() -> None:
    assert Lamp(on_for="1 h", held="1 GPU h", memory="1 KiB").model_dump() == {  # type: ignore[arg-type]
        "on_for": 3600.0,
        "burns": None,
        "memory": 1024.0,
        "held": 3600.0,
        "dimmed": 0.0,
        "count": 1,
        "manual": None,
    }


def test_a_bare_number_in_a_file_is_refused_but_zero_is_not() -> None:
    with pytest.raises(ValidationError, match='3600 has no unit; write "3600 s" or "1 h"'):
        Lamp.model_validate({"on_for": 3600}, context=FROM_TEXT)
    assert Lamp.model_validate({"on_for": 0}, context=FROM_TEXT).on_for == 0


def test_a_fraction_is_a_bare_number_or_per_cent() -> None:
    assert Lamp.model_validate({"dimmed": 0.25}, context=FROM_TEXT).dimmed == 0.25
    assert Lamp.model_validate({"dimmed": "25 %"}, context=FROM_TEXT).dimmed == 0.25


def test_quantities_are_written_with_their_unit() -> None:
    assert Lamp(on_for=5400.0, memory=80e9).model_dump(mode="json") == {
        "on_for": "90 min",
        "burns": None,
        "memory": "80 GB",
        "held": "0 GPU s",
        "dimmed": 0.0,
        "count": 1,
        "manual": None,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"on_for": -1.0},
        {"on_for": "-1 s"},
        {"on_for": math.nan},
        {"on_for": math.inf},
        {"burns": 0.0},
        {"burns": "0 s"},
        {"dimmed": 1.5},
        {"shade": "green"},
        {"on_for": True},
        {"on_for": None},
    ],
)
def test_what_has_no_meaning_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Lamp.model_validate(fields, context=FROM_TEXT)


def test_a_part_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Lamp().on_for = 1.0


def test_a_path_is_text_in_a_file_with_strict_types() -> None:
    assert Lamp.model_validate({"manual": "a/b"}, strict=True, context=FROM_TEXT).manual == Path("a/b")


def test_a_part_is_not_made_of_something_else() -> None:
    with pytest.raises(ValidationError):
        Lamp.model_validate("bright")


def test_the_schema_says_how_a_quantity_is_written() -> None:
    fields = Lamp.model_json_schema()["properties"]
    assert fields["on_for"]["examples"] == ["3 h", "90 s"]
    assert fields["on_for"]["x-dimension"] == "s"
    assert fields["dimmed"]["maximum"] == 1
