"""The building blocks of everything a user writes: frozen models, and quantities that are text with units.

A model built from a file is validated with strict types and the context ``{"from_text": True}``: quantities
must then be text with a unit. A model built in Python takes SI floats as well, so ``Spec(horizon=3600.0)`` is
an hour.
"""

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from sim import units

FROM_TEXT: Final = {"from_text": True}


class Part(BaseModel):
    """Something a user declares: immutable, with no fields but its own and no number that is not one."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
        serialize_by_alias=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _read_paths(cls, written: Any) -> Any:  # noqa: ANN401 - whatever the user wrote
        """Text is a path where a path is wanted, also where types are strict, as they are for files."""
        if not isinstance(written, dict):
            return written
        paths = {name for name, info in cls.model_fields.items() if info.annotation in (Path, Path | None)}
        return {
            name: Path(value) if name in paths and isinstance(value, str) else value
            for name, value in written.items()
        }


def _reader(dimension: str) -> BeforeValidator:
    """Text with a unit becomes an SI float; a bare number is one only outside of files."""

    def read(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - whatever the file holds
        from_text = isinstance(value, str) or (info.context or {}).get("from_text", False)
        return units.parse(value, dimension) if from_text else value

    return BeforeValidator(read)


def _writer(dimension: str) -> PlainSerializer:
    return PlainSerializer(lambda value: units.format_si(value, dimension), return_type=str, when_used="json")


def _schema(dimension: str, *, positive: bool = False) -> WithJsonSchema:
    """Text with a unit, or a bare 0 where that has a meaning."""
    kind = units.DIMENSIONS[dimension]
    text: dict[str, Any] = {
        "type": ["string"] if positive else ["string", "number"],
        "pattern": rf"^\s*{units.NUMBER}\s*\S",
        "examples": list(kind.examples),
        "x-dimension": dimension,
    }
    return WithJsonSchema(text if positive else text | {"minimum": 0, "maximum": 0})


Seconds = Annotated[float, _reader("s"), Field(ge=0), _writer("s"), _schema("s")]
PositiveSeconds = Annotated[float, _reader("s"), Field(gt=0), _writer("s"), _schema("s", positive=True)]
Bytes = Annotated[float, _reader("byte"), Field(ge=0), _writer("byte"), _schema("byte")]
BytesPerSecond = Annotated[float, _reader("byte/s"), Field(ge=0), _writer("byte/s"), _schema("byte/s")]
PerSecond = Annotated[float, _reader("1/s"), Field(ge=0), _writer("1/s"), _schema("1/s")]
GpuSeconds = Annotated[float, _reader("gpu_s"), Field(ge=0), _writer("gpu_s"), _schema("gpu_s")]
Watts = Annotated[float, _reader("W"), Field(ge=0), _writer("W"), _schema("W")]
FlopPerSecond = Annotated[float, _reader("flop/s"), Field(ge=0), _writer("flop/s"), _schema("flop/s")]
Fraction = Annotated[
    float,
    _reader("fraction"),
    Field(ge=0, le=1),
    WithJsonSchema(
        {
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": 1,
            "pattern": rf"^\s*{units.NUMBER}\s*%?\s*$",
            "examples": [0.5, "50 %"],
            "x-dimension": "fraction",
        }
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=100)]
