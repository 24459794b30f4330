"""A tenant that submits jobs of stated sizes and durations by a stated arrival process."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import polars as pl
from pydantic import BeforeValidator, Field, model_validator

from sim import arrivals, words
from sim.distributions import SIZES, TIMES, Counts, Floats, plain_is_fixed
from sim.errors import PlanError
from sim.parts import Bytes, Part, PositiveSeconds, Seconds
from sim.streams import stream
from sim.workloads.jobs import WorkloadJobs
from sim.workloads.processes import AnyProcess, Diurnal, Hours, Recorded
from sim.workloads.trace import TraceFile
from sim.workloads.training import Training
from sim.workloads.training_steps import TrainingSteps

DIGITS: Final = 6
"""Durations that follow from a model are rounded to microseconds."""


class FromTrace(TraceFile):
    """Values drawn, with replacement, from the jobs of a log.

    Where both the GPUs and the durations of a workload are drawn from the same log, each job takes both from
    one job of the log, so that what the log says about long and wide jobs stays true.
    """

    kind: Literal["trace"] = "trace"
    tenant: str | None = Field(None, description="draw from this tenant's jobs only")

    def draw(self, rng: np.random.Generator, count: int, folder: Path) -> pl.DataFrame:
        """As many jobs of the log as asked for; raises PlanError if there are none to draw from."""
        jobs = self.read(folder).jobs
        if self.tenant is not None:
            jobs = jobs.filter(pl.col("tenant") == self.tenant)
        if jobs.is_empty():
            whose = f" of {self.tenant}" if self.tenant else ""
            raise PlanError(f"{self.path} has no jobs{whose} to draw from")
        return jobs[rng.integers(jobs.height, size=count)]


def _exact_is_an_estimate(value: Any) -> Any:  # noqa: ANN401 - whatever the user wrote
    return {} if value == "exact" else value


class Estimate(Part):
    """What users say about the duration of their jobs: never less than it takes, often more.

    Each estimate is the duration x a factor drawn uniformly between two limits, as in the f-model of Mu'alem
    and Feitelson (IEEE TPDS 2001). The factor 1, the default, is an exact estimate.
    """

    factor_from: float = Field(1.0, ge=1, description="smallest estimate, as a multiple of the duration")
    factor_to: float = Field(1.0, ge=1, description="largest estimate, as a multiple of the duration")

    @model_validator(mode="after")
    def _factors_are_in_order(self) -> Self:
        if self.factor_to < self.factor_from:
            raise ValueError("factor_to is less than factor_from")
        return self

    def sample(self, rng: np.random.Generator, durations_s: Floats) -> pl.Series:
        """One estimate for each duration, in seconds; a job that takes no time gives none."""
        estimates = durations_s * rng.uniform(self.factor_from, self.factor_to, len(durations_s))
        return pl.Series(np.where(estimates > 0, estimates, np.nan)).fill_nan(None)


Sizes = Annotated[
    Annotated[SIZES | FromTrace, Field(discriminator="kind")],
    BeforeValidator(plain_is_fixed),
]
Durations = Annotated[
    Annotated[TIMES | FromTrace | TrainingSteps | Training, Field(discriminator="kind")],
    BeforeValidator(plain_is_fixed),
]


class Synthetic(Part):
    """Jobs of one tenant: when they come, how many GPUs they ask for, how long they run.

    Arrivals, sizes, durations and estimates have random streams of their own, named after the workload, so a
    change to one of them leaves the others, and every other workload, as they were.
    """

    kind: Literal["synthetic"] = "synthetic"
    name: str | None = Field(
        None, min_length=1, description="names the jobs and their random streams; by its place if left out"
    )
    tenant: str = Field("default", min_length=1, description="who submits the jobs")
    arrivals: AnyProcess = Field(description="when jobs are submitted")
    gpus: Sizes = Field(description="GPUs of a job: a number or a distribution")
    duration: Durations = Field(description="time on the GPUs if never interrupted: a time or a distribution")
    hours: Hours | None = Field(
        None, description="submit in these hours only; rates and intervals then count open hours"
    )
    estimate: Annotated[Estimate, BeforeValidator(_exact_is_an_estimate)] | None = Field(
        None, description="the user's own estimate of the duration; left out, users give none"
    )
    priority: int = Field(0, description="higher is more urgent, where the scheduler looks at it")
    gpu_kind: str | None = Field(None, description="the only GPU kind that will do; left out, any will")
    nodes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="exactly so many nodes; left out, the placement decides"
    )
    cpus_per_gpu: Annotated[float, Field(ge=0)] | None = Field(None, description="CPU cores for each GPU")
    memory_per_gpu: Bytes | None = Field(None, description="host memory for each GPU")
    start: Seconds = Field(0.0, description="when the first job may come")
    until: PositiveSeconds | None = Field(
        None, description="no job comes from here on; left out, the horizon"
    )
    count: Annotated[int, Field(ge=1)] | None = Field(None, description="no more than so many jobs")

    @model_validator(mode="after")
    def _times_have_a_meaning(self) -> Self:
        if self.until is not None and self.until <= self.start:
            raise ValueError("until must be later than start")
        if self.hours is not None and isinstance(self.arrivals, Diurnal | Recorded):
            raise ValueError(f"{self.arrivals.kind} arrivals already say when jobs come; leave out hours")
        return self

    def jobs(self, seed: int, horizon_s: float | None, folder: Path) -> WorkloadJobs:
        """The jobs to submit before the horizon; raises PlanError if they would never end."""
        name = self.name or self.kind
        submit_s = self._submit_s(stream(seed, name, "arrivals"), name, horizon_s)
        gpus, duration_s = self._shapes(seed, name, len(submit_s), folder)
        table = arrivals.table(
            job_id=numbered(name, len(submit_s)),
            submit_s=submit_s,
            duration_s=duration_s,
            gpus=gpus,
            tenant=self.tenant,
            priority=self.priority,
            gpu_kind=self.gpu_kind,
            nodes=self.nodes,
            estimate_s=self._estimate_s(stream(seed, name, "estimates"), duration_s),
            cpus=None if self.cpus_per_gpu is None else self.cpus_per_gpu * gpus,
            memory_bytes=None if self.memory_per_gpu is None else self.memory_per_gpu * gpus,
        )
        told = (
            self.duration.notes(gpus, folder) if isinstance(self.duration, TrainingSteps | Training) else ()
        )
        return WorkloadJobs(table, {}, told)

    def impossible(self, folder: Path) -> Iterator[str]:
        """For each number of GPUs that a training may have and cannot run on: which, and why not."""
        if not isinstance(self.duration, TrainingSteps | Training) or isinstance(self.gpus, FromTrace):
            return
        for gpus in sorted(set(self.gpus.each())):
            try:
                self.duration.times_s(np.array([gpus]), folder)
            except PlanError as error:
                yield f"on {words.count(gpus, 'GPU')}: {error}"

    def _submit_s(self, rng: np.random.Generator, name: str, horizon_s: float | None) -> Floats:
        """Times of submission, from ``start`` on and in the open hours."""
        until_s = last_submission_s(name, self.until, self.count, horizon_s)
        open_before = self.hours.open_before_s if self.hours else float
        start_s = open_before(self.start)
        span_s = max(open_before(until_s) - start_s, 0.0)
        times_s = self.arrivals.times_s(rng, span_s, self.count) + start_s
        submit_s = times_s if self.hours is None else self.hours.on_the_clock(times_s)
        return submit_s[submit_s < until_s]

    def _estimate_s(self, rng: np.random.Generator, duration_s: Floats) -> pl.Series | None:
        return None if self.estimate is None else self.estimate.sample(rng, duration_s)

    def _shapes(self, seed: int, name: str, count: int, folder: Path) -> tuple[Counts, Floats]:
        """GPUs and durations of the jobs; from one and the same row where both come from one log."""
        sizes, durations = stream(seed, name, "sizes"), stream(seed, name, "durations")
        if isinstance(self.gpus, FromTrace):
            rows = self.gpus.draw(sizes, count, folder)
            gpus = rows["gpus"].to_numpy()
            if self.duration == self.gpus:
                return gpus, rows["duration_s"].to_numpy()
        else:
            gpus = self.gpus.sample(sizes, count)
        if isinstance(self.duration, FromTrace):
            return gpus, self.duration.draw(durations, count, folder)["duration_s"].to_numpy()
        if isinstance(self.duration, TrainingSteps | Training):
            try:
                # the last digits of step times differ between machines, which may decide who is first
                return gpus, np.round(self.duration.times_s(gpus, folder), DIGITS)
            except PlanError as error:
                raise PlanError(f"workload {name}: {error}") from None
        return gpus, self.duration.sample(durations, count)


def last_submission_s(name: str, until_s: float | None, count: int | None, horizon_s: float | None) -> float:
    """The time before which jobs come; infinity only if their number is limited."""
    ends_s = [end for end in (until_s, horizon_s) if end is not None]
    if not ends_s and count is None:
        raise PlanError(
            f"workload {name} would never end; give it a count or until, or the scenario a horizon"
        )
    return min(ends_s, default=math.inf)


def numbered(name: str, count: int) -> pl.Series:
    """Ids of jobs: the name of their workload and a number from 1."""
    return pl.select(pl.format("{}-{}", pl.lit(name), pl.int_range(1, count + 1))).to_series()
