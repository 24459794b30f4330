"""What a fleet must achieve: bounds on the metrics of a run."""

from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)

from sim import metrics, units
from sim.errors import hint
from sim.parts import Name, Part

METRICS = {
    name: {"s": "s", "GPU h": "gpu_s", "fraction": "fraction"}.get(unit, "number")
    for name, unit in metrics.UNITS.items()
}
"""What an objective may bound, and how that is written: a time, GPU time, a fraction or a bare number."""


def _read_bound(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - whatever the user wrote
    """A bound in the unit of its metric; text has units, and a number is in that unit already."""
    if "metric" not in info.data:
        return 0.0  # the metric is refused by its own field, and so is the objective
    dimension = METRICS[info.data["metric"]]
    from_text = isinstance(value, str) or bool((info.context or {}).get("from_text"))
    if value is None or dimension == "number" or not from_text:
        return value
    return units.parse(value, dimension) / (metrics.GPU_H if dimension == "gpu_s" else 1.0)


Bound = Annotated[
    float,
    BeforeValidator(_read_bound),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30 min", "95 %", 1.5]}),
]


class Objective(Part):
    """What the fleet must achieve: a run that misses it ends with exit code 1."""

    metric: str = Field(description="a metric of the summary, such as wait_p95_s or occupancy")
    tenant: Name | None = Field(None, description="of this tenant only; left out, of all")
    at_most: Bound | None = Field(None, description="the largest value that will do, with its unit")
    at_least: Bound | None = Field(None, description="the smallest value that will do, with its unit")

    @field_validator("metric")
    @classmethod
    def _metric_exists(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f'"{metric}" is not a metric; {hint(metric, METRICS)}')
        return metric

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("an objective needs either at_most or at_least")
        return self

    @field_serializer("at_most", "at_least", when_used="json")
    def _write_bound(self, value: float | None) -> str | float | None:
        dimension = METRICS[self.metric]
        if value is None or dimension in {"number", "fraction"}:
            return value
        si = float(f"{value * metrics.GPU_H:.15g}") if dimension == "gpu_s" else value
        return units.format_si(si, dimension)
