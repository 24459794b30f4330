"""Replay of a log of jobs that really ran."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from sim import arrivals, traces, words
from sim.errors import hint
from sim.parts import Part, PositiveSeconds, Seconds
from sim.units import human_duration
from sim.workloads.jobs import WorkloadJobs


class TraceFile(Part):
    """Where a log of jobs is, and how to read it."""

    kind: str
    path: Path = Field(description="the log, plain or gzipped; relative to the scenario's folder")
    format: str | None = Field(
        None, description="format of the log; guessed from its first line when left out"
    )
    fractions: traces.Fractions = Field(
        "refuse",
        description="jobs that ask for part of a GPU: refuse the log, or round them up and count them",
    )
    on_fault: traces.OnFault = Field(
        "refuse", description="malformed lines: refuse the log, or skip and count them"
    )
    gpus_per_processor: Annotated[float, Field(gt=0)] | None = Field(
        None, description="GPUs behind each processor of an SWF log, which knows no GPUs"
    )

    @field_validator("format")
    @classmethod
    def _is_a_format(cls, name: str | None) -> str | None:
        if name is None or name in traces.FORMATS:
            return name
        raise ValueError(f'"{name}" is not a trace format; {hint(name, traces.FORMATS)}')

    def file(self, folder: Path) -> Path:
        """The log, for opening and for messages: one that leads up and down is told as short as possible."""
        written = folder / self.path
        if ".." not in self.path.parts:
            return written
        full = written.parent.resolve() / written.name
        return min(Path(os.path.relpath(full)), full, key=lambda path: len(str(path)))

    def read(self, folder: Path) -> traces.TraceRead:
        """The log as read; raises TraceError if it cannot be used."""
        return traces.read(
            self.file(folder),
            self.format,
            fractions=self.fractions,
            on_fault=self.on_fault,
            gpus_per_processor=self.gpus_per_processor,
        )


class TraceWorkload(TraceFile):
    """The jobs of a log, submitted when they were submitted then.

    Of the log, the jobs submitted from ``start`` and before ``until`` are replayed, on its own clock;
    ``start`` becomes time 0. ``load_factor`` then divides the times between submissions: 2 submits the same
    jobs in half the time, which is twice the load.
    """

    kind: Literal["trace"] = "trace"
    name: str | None = Field(None, min_length=1, description="how the report calls this workload")
    tenant: str | None = Field(None, description="tenant of all jobs; left out, it is as the log says")
    start: Seconds = Field(0.0, description="where in the log to start")
    until: PositiveSeconds | None = Field(None, description="where in the log to stop; left out, at its end")
    limit: Annotated[int, Field(ge=1)] | None = Field(None, description="replay at most so many jobs")
    load_factor: float = Field(1.0, gt=0, description="how much faster the jobs come than in the log")

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> Self:
        if self.until is not None and self.until <= self.start:
            raise ValueError("until must be later than start")
        return self

    def jobs(self, seed: int, horizon_s: float | None, folder: Path) -> WorkloadJobs:  # noqa: ARG002 - a log has no chance in it
        """The jobs to submit before the horizon; whatever is cut off is counted."""
        read = self.read(folder)
        shown, left_out = read.jobs, dict(read.left_out)

        def keep(rows: pl.Expr, reason: str) -> None:
            nonlocal shown
            kept = shown.filter(rows)
            if kept.height < shown.height:
                left_out[reason] = shown.height - kept.height
            shown = kept

        keep(pl.col("submit_s") >= self.start, "submitted before the start of the window")
        if self.until is not None:
            keep(pl.col("submit_s") < self.until, "submitted after the end of the window")
        if self.limit is not None:
            keep(pl.int_range(pl.len()) < self.limit, f"after the first {words.count(self.limit, 'job')}")
        shown = shown.with_columns((pl.col("submit_s") - self.start) / self.load_factor)
        if horizon_s is not None:
            keep(pl.col("submit_s") < horizon_s, "submitted at or after the horizon")
        if self.tenant is not None:
            shown = shown.with_columns(tenant=pl.lit(self.tenant))
        return WorkloadJobs(shown.select(*arrivals.SCHEMA), left_out, (*self._notes(read), *read.notes))

    def _notes(self, read: traces.TraceRead) -> list[str]:
        notes = [f"Jobs replayed from {self.path.name} ({read.format}); in the log, time 0 is {read.origin}."]
        if self.start:
            notes.append(f"The replay starts {human_duration(self.start)} into the log.")
        if self.load_factor != 1:
            notes.append(f"Times between submissions are divided by {self.load_factor:g}.")
        return notes
