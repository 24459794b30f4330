"""Durations that follow from a large model, the tokens it is trained on, and the GPUs it runs on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from sim import catalog, units, words
from sim.catalog.machines import USUAL_FABRIC
from sim.catalog.transformers import FILES, transformer, transformer_names
from sim.distributions import Counts, Floats
from sim.errors import hint
from sim.estimate import Estimate, Job, estimate, usual_batch
from sim.parts import BytesPerSecond, Part
from sim.perf.parallel.layouts import Layout
from sim.perf.parallel.machines import NumberFormat, Software


class Training(Part):
    """Every job trains one large model on so many tokens, in the fastest layout that fits or in a given one.

    The time is that of ``dcplan estimate``: no failures, no evaluation, and data that is always there.
    """

    kind: Literal["training"] = "training"
    model: str = Field(
        description="a transformer of the catalog, a description of your own (.yaml), or a config.json"
    )
    gpu: str = Field(description="the catalog's name of the GPU that the jobs run on")
    tokens: Annotated[float, Field(gt=0)] | None = Field(None, description="tokens to train on")
    steps: Annotated[int, Field(ge=1)] | None = Field(None, description="steps, in place of tokens")
    batch: Annotated[int, Field(ge=1)] | None = Field(
        None, description="samples of a step; left out, about 4 million tokens"
    )
    sequence: Annotated[int, Field(ge=1)] | None = Field(
        None, description="tokens of a sample; left out, as the model was trained"
    )
    precision: NumberFormat = Field("bf16", description="number format of products")
    software: Software = Field("megatron-core", description="what drives the training")
    layout: Layout | None = Field(
        None,
        description="how it is split; left out, the fastest way that fits; dp is what is left of the GPUs",
    )
    lora: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="rank of adapters beside every matrix, which alone learn; left out, everything learns",
    )
    gpus_per_node: Annotated[int, Field(ge=1)] = Field(8, description="GPUs of a node")
    fabric: BytesPerSecond = Field(USUAL_FABRIC, description="of one GPU to other nodes, each direction")

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if (self.tokens is None) == (self.steps is None):
            raise ValueError("give either tokens or steps")
        return self

    @field_validator("model")
    @classmethod
    def _model_is_known(cls, model: str) -> str:
        if Path(model).suffix not in FILES and model not in transformer_names():
            raise ValueError(
                f'"{model}" is not a transformer of the catalog; {hint(model, transformer_names())}'
            )
        return model

    @field_validator("gpu")
    @classmethod
    def _gpu_is_known(cls, gpu: str) -> str:
        if gpu not in catalog.names("gpu"):
            raise ValueError(f'"{gpu}" is not a GPU of the catalog; {hint(gpu, catalog.names("gpu"))}')
        return gpu

    def times_s(self, gpus: Counts, folder: Path) -> Floats:
        """Seconds of jobs of so many GPUs each; PlanError where the model cannot be split like that."""
        each = {int(count): self._time_s(int(count), folder) for count in np.unique(gpus)}
        return np.array([each[int(count)] for count in gpus])

    def notes(self, gpus: Counts, folder: Path) -> tuple[str, ...]:
        """What a report must say: the layout, the step time with its interval, and how sure that is."""
        told = []
        for count in np.unique(gpus):
            found = self.on(int(count), folder)
            low, high = (units.human_duration(time_s) for time_s in found.interval_s)
            fleet = f"{words.count(int(count), 'GPU')} {self.gpu}"
            told.append(
                f"A step of {self.model} on {fleet} ({found.layout.told()})"
                f" takes {units.human_duration(found.step_s)}, with 80 % between {low} and {high}"
                + ("" if found.known else "; no run on that GPU with that software was in the fit")
                + ("" if found.verdict == "fits" else f"; memory: {found.verdict}")
            )
        return tuple(told)

    def on(self, count: int, folder: Path) -> Estimate:
        """The estimate on so many GPUs."""
        return _estimate(self, count, folder)

    def _time_s(self, count: int, folder: Path) -> float:
        found = self.on(count, folder)
        if self.steps is not None:
            return self.steps * found.step_s
        return found.time_s(self.tokens or 0.0)


@cache
def _estimate(wanted: Training, count: int, folder: Path) -> Estimate:
    model = transformer(wanted.model, folder)
    sequence = wanted.sequence or model.sequence
    batch = wanted.batch or usual_batch(sequence)
    job = Job(
        model, wanted.gpu, count, sequence, batch, wanted.precision, wanted.software, wanted.gpus_per_node,
        wanted.fabric, wanted.lora or 0,
    )  # fmt: skip
    layout = wanted.layout
    if layout is not None and "dp" not in layout.model_fields_set:
        others = layout.tp * layout.pp * layout.cp
        layout = layout.model_copy(update={"dp": max(1, count // others)})
    return estimate(job, layout)
