"""Jobs like those of a cluster of which statistics were published, at whatever rate is wanted."""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sim import arrivals, words
from sim.distributions import Floats
from sim.parts import Part, PositiveSeconds
from sim.streams import stream
from sim.workloads.jobs import WorkloadJobs
from sim.workloads.processes import Diurnal, Rate
from sim.workloads.published import Cluster, cluster
from sim.workloads.synthetic import last_submission_s, numbered

Name = Literal["philly", "helios", "pai", "seren", "kalos"]


class Preset(Part):
    """Jobs with the sizes, run times and daily rhythm of a published cluster.

    Mean and median run time, mean, median and largest number of GPUs, longest run time and GPU time per job
    are those published. How many jobs come is free: as many as were recorded, a ``rate``, or as many as keep
    ``offered_gpus`` busy on average, which is the load to compare with the size of the fleet.
    """

    kind: Literal["preset"] = "preset"
    name: str | None = Field(
        None, min_length=1, description="names the jobs and their random streams; by its place if left out"
    )
    preset: Name = Field(description="whose jobs these are like")
    rate: Rate | None = Field(None, description="jobs per time; left out, as many as were recorded there")
    offered_gpus: Annotated[float, Field(gt=0)] | None = Field(
        None, description="GPUs that the jobs would keep busy on average, in place of a rate"
    )
    max_gpus: Annotated[int, Field(ge=1)] | None = Field(
        None, description="leave out sizes above this one; the others keep their proportions"
    )
    fractions: Literal["refuse", "round_up"] = Field(
        "refuse", description="jobs that ask for part of a GPU: refuse them, or let them hold a whole one"
    )
    tenant: str = Field("default", min_length=1, description="who submits the jobs")
    priority: int = Field(0, description="higher is more urgent, where the scheduler looks at it")
    gpu_kind: str | None = Field(None, description="the only GPU kind that will do; left out, any will")
    until: PositiveSeconds | None = Field(
        None, description="no job comes from here on; left out, the horizon"
    )
    count: Annotated[int, Field(ge=1)] | None = Field(None, description="no more than so many jobs")

    @model_validator(mode="after")
    def _fits_the_cluster(self) -> Self:
        if self.rate is not None and self.offered_gpus is not None:
            raise ValueError("give rate or offered_gpus, not both")
        if self.fractions == "refuse" and bool((self._gpus % 1).any()):
            raise ValueError(
                f"jobs of {self.preset} ask for parts of a GPU, which cannot be allocated; write "
                "fractions: round_up to let each hold whole GPUs"
            )
        return self

    def jobs(self, seed: int, horizon_s: float | None, folder: Path) -> WorkloadJobs:  # noqa: ARG002 - reads no file of the user's
        """The jobs to submit before the horizon; raises PlanError if they would never end."""
        name = self.name or self.preset
        until_s = last_submission_s(name, self.until, self.count, horizon_s)
        submit_s = self._arrivals.times_s(stream(seed, name, "arrivals"), until_s, self.count)
        count = len(submit_s)
        asked = self._gpus[stream(seed, name, "sizes").choice(len(self._gpus), count, p=self._shares)]
        table = arrivals.table(
            job_id=numbered(name, count),
            submit_s=submit_s,
            duration_s=self._durations_s(stream(seed, name, "durations"), asked),
            gpus=np.ceil(asked).astype(np.int64),
            gpu_fraction=asked,
            tenant=self.tenant,
            priority=self.priority,
            gpu_kind=self.gpu_kind,
        )
        return WorkloadJobs(table, {}, self._notes(asked))

    @property
    def rate_per_s(self) -> float:
        """Jobs per second in the long run."""
        if self.offered_gpus is not None:
            return self.offered_gpus / self.gpu_s_per_job
        return self._cluster.rate_per_s if self.rate is None else self.rate

    @property
    def gpu_s_per_job(self) -> float:
        """GPU seconds that a job holds on average if it is never interrupted; exact."""
        kept = self._kept
        return float(np.dot(self._shares, self._cluster.gpu_s(np.ceil(self._cluster.gpus))[kept]))

    @property
    def _cluster(self) -> Cluster:
        return cluster(self.preset)

    @property
    def _kept(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        most = np.inf if self.max_gpus is None else self.max_gpus
        return np.asarray(self._cluster.gpus <= most)

    @property
    def _gpus(self) -> Floats:
        return self._cluster.gpus[self._kept]

    @property
    def _shares(self) -> Floats:
        kept = self._cluster.shares[self._kept]
        shares: Floats = kept / kept.sum()
        return shares

    @property
    def _arrivals(self) -> Diurnal:
        pattern = self._cluster.arrivals
        return Diurnal(
            rate=self.rate_per_s,
            amplitude=pattern.amplitude,
            peak_hour=pattern.peak_hour,
            weekend_factor=pattern.weekend_factor,
        )

    def _durations_s(self, rng: np.random.Generator, asked: Floats) -> Floats:
        """Run times given the sizes: a lognormal, cut off at the longest."""
        spread = np.exp(self._cluster.durations.sigma * rng.standard_normal(len(asked)))
        drawn: Floats = self._cluster.median_run_s(asked) * spread
        return drawn.clip(max=self._cluster.published.longest_run_s)

    def _notes(self, asked: Floats) -> tuple[str, ...]:
        notes = [f"Jobs like those of {self._cluster.title}; {self._cluster.published.source}."]
        if self.max_gpus is not None and not self._kept.all():
            lost = float(self._cluster.shares[~self._kept].sum())
            notes.append(
                f"Jobs of more than {words.count(self.max_gpus, 'GPU')}, {words.percent(lost)} of those of "
                f"{self.preset}, do not come."
            )
        parts = int(np.count_nonzero(asked % 1))
        if parts:
            of_all = f"of {words.count(len(asked), 'job')}"
            ask = words.count(parts, f"{of_all} asks", f"{of_all} ask")
            notes.append(f"{ask} for part of a GPU: whole ones are held.")
        return tuple(notes)
