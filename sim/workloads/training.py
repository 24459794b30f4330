"""Durations that follow from a large model, the tokens it is trained on, and the GPUs it runs on."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from sim import catalog, units, words
from sim.catalog.machines import USUAL_FABRIC
from sim.catalog.transformers import FILES, transformer, transformer_names
from sim.distributions import Counts, Floats
from sim.errors import PlanError, hint
from sim.estimate import Estimate, Job, estimate, usual_batch
from sim.parts import BytesPerSecond, Part
from sim.perf.parallel.layouts import Layout
from sim.perf.parallel.machines import NumberFormat, Software


class Halving(Part):
    """Trials of a sweep of which most stop early: asynchronous successive halving, as Ray Tune stops trials.

    Each trial trains on the tokens of its first rung; one in ``keep_one_of`` goes on to as many times the
    tokens, of those one in as many again, and so on up to the last rung, on the GPUs that it has. Which
    ones go on is counted, not drawn: every third, every ninth, and so on (Li et al., MLSys 2020, without
    pauses).
    """

    keep_one_of: Annotated[int, Field(ge=2)] = Field(3, description="one of so many trials goes on; eta")
    rungs: Annotated[int, Field(ge=2, le=12)] = Field(
        3, description="times a trial is judged, the end included"
    )

    def factors(self, count: int) -> Floats:
        """By how much each of so many trials exceeds the first rung: 1, eta, eta squared, ...

        >>> Halving(keep_one_of=3, rungs=3).factors(9).tolist()
        [1.0, 1.0, 3.0, 1.0, 1.0, 3.0, 1.0, 1.0, 9.0]
        """
        number = np.arange(1, count + 1)
        goes_on = [number % self.keep_one_of**rung == 0 for rung in range(1, self.rungs)]
        return np.asarray(float(self.keep_one_of) ** np.sum(goes_on, axis=0))


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
    halving: Halving | None = Field(
        None, description="trials of a sweep, most of which stop early; tokens or steps are of the first rung"
    )
    teacher: str | None = Field(
        None,
        description="distillation: a model that answers every sample first, on the same GPUs",
    )
    gpus_per_node: Annotated[int, Field(ge=1)] = Field(8, description="GPUs of a node")
    fabric: BytesPerSecond = Field(USUAL_FABRIC, description="of one GPU to other nodes, each direction")

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if (self.tokens is None) == (self.steps is None):
            raise ValueError("give either tokens or steps")
        return self

    @field_validator("model", "teacher")
    @classmethod
    def _model_is_known(cls, model: str | None) -> str | None:
        if model is not None and Path(model).suffix not in FILES and model not in transformer_names():
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
        each = {int(count): self._steps_and_time_s(int(count), folder) for count in np.unique(gpus)}
        factors = np.ones(len(gpus)) if self.halving is None else self.halving.factors(len(gpus))
        steps = [math.ceil(each[int(n)][0] * factor) for n, factor in zip(gpus, factors, strict=True)]
        return np.array([count * each[int(n)][1] for n, count in zip(gpus, steps, strict=True)])

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
                + self._of_the_teacher(int(count), folder)
                + f"; each GPU sends {units.human_size(found.traffic().sent_bytes)}, and a checkpoint has"
                f" {units.human_size(found.traffic().checkpoint_bytes)}"
            )
        return tuple(told)

    def _of_the_teacher(self, count: int, folder: Path) -> str:
        if self.teacher is None:
            return ""
        return f"; {self.teacher} answers first, in {units.human_duration(self._teaching_s(count, folder))}"

    def on(self, count: int, folder: Path) -> Estimate:
        """The estimate on so many GPUs."""
        return _estimate(self, count, folder)

    def teacher_on(self, count: int, folder: Path) -> Estimate | None:
        """The teacher's own training on as many GPUs, of which its answers are the forward passes."""
        if self.teacher is None:
            return None
        alone = {"model": self.teacher, "teacher": None, "halving": None, "lora": None, "layout": None}
        return _estimate(self.model_copy(update=alone | self._of_the_student(folder)), count, folder)

    def _of_the_student(self, folder: Path) -> dict[str, int]:
        """Samples of the teacher are those of the student."""
        sequence = self.sequence or transformer(self.model, folder).sequence
        return {"sequence": sequence, "batch": self.batch or usual_batch(sequence)}

    def _teaching_s(self, count: int, folder: Path) -> float:
        """Seconds of a step in which the teacher answers; PlanError where it has no room beside the student.

        The teacher's weights, in 2 bytes each, are shared out over all GPUs of the job.
        """
        teacher = self.teacher_on(count, folder)
        if teacher is None:
            return 0.0
        student = self.on(count, folder)
        held = float(student.memory.total[0]) + 2.0 * teacher.job.model.parameters / count
        there = catalog.gpu(self.gpu).memory
        if held > there:
            raise PlanError(
                f"{self.teacher} does not fit beside {self.model}: together they need"
                f" {units.human_size(held)} of each GPU, and there are {units.human_size(there)}"
            )
        return teacher.forward_s

    def _steps_and_time_s(self, count: int, folder: Path) -> tuple[float, float]:
        """Steps of a job, not yet rounded up, and seconds of each."""
        found = self.on(count, folder)
        steps = self.steps if self.steps is not None else (self.tokens or 0.0) / found.job.step_tokens
        return float(steps), found.step_s + self._teaching_s(count, folder)


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
