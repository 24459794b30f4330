"""What was published about a GPU cluster's jobs, and the jobs that follow from it.

One YAML file in ``presets/`` is one cluster, each number with its source. The run time of a job depends on
its size: a lognormal whose median grows as a power of the number of GPUs, cut off at the longest run time
published. Its three parameters are solved so that the mean and the median of all run times and the GPU time
per job are the published ones; everything else follows.
"""

import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from pydantic import Field
from ruamel.yaml import YAML

from sim.distributions import Floats, Lognormal
from sim.parts import Part
from sim.workloads.processes import DAY_S


class Sourced(Part):
    """Numbers that come from one place."""

    source: str = Field(min_length=1)


class Published(Sourced):
    """The figures that the jobs must reproduce."""

    jobs: int
    mean_run_s: float
    median_run_s: float
    longest_run_s: float
    mean_gpus: float
    median_gpus: float
    most_gpus: int
    gpu_time_s: tuple[float, ...] | None = None

    @property
    def gpu_s_per_job(self) -> float | None:
        """GPU seconds that a job used on average."""
        return None if self.gpu_time_s is None else math.fsum(self.gpu_time_s) / self.jobs


class Span(Sourced):
    """How long the jobs were recorded."""

    days: float


class Pattern(Sourced):
    """How submissions follow the day and the week."""

    amplitude: float
    peak_hour: float
    weekend_factor: float


class Shares(Sourced):
    """The numbers of GPUs that jobs ask for, and the share of each."""

    shares: tuple[tuple[float, float], ...]


class RunTimes(Sourced):
    """Run times by the number of GPUs."""

    median_one_gpu_s: float
    sigma: float
    growth: float


class Cluster(Part):
    """One cluster of which statistics were published."""

    title: str
    cite: str
    published: Published
    span: Span
    arrivals: Pattern
    sizes: Shares
    durations: RunTimes

    @property
    def gpus(self) -> Floats:
        """The numbers of GPUs that jobs ask for, as recorded: 0.5 is half of one."""
        return np.array([gpus for gpus, _ in self.sizes.shares])

    @property
    def shares(self) -> Floats:
        """The share of the jobs that ask for each."""
        return np.array([share for _, share in self.sizes.shares])

    @property
    def rate_per_s(self) -> float:
        """Jobs per second while they were recorded."""
        return self.published.jobs / (self.span.days * DAY_S)

    def median_run_s(self, gpus: Floats) -> Floats:
        """Median run time of jobs of so many GPUs."""
        medians: Floats = self.durations.median_one_gpu_s * gpus**self.durations.growth
        return medians

    def run_times(self, gpus: float) -> Lognormal:
        """The run times of jobs of so many GPUs."""
        return Lognormal(
            median=float(self.median_run_s(np.array(gpus))),
            sigma=self.durations.sigma,
            at_most=self.published.longest_run_s,
        )

    def gpu_s(self, held: Floats) -> Floats:
        """Mean GPU seconds of a job of each size, if it holds so many GPUs."""
        seconds: Floats = held * np.array([self.run_times(gpus).mean_s() for gpus in self.gpus])
        return seconds


@cache
def cluster(name: str) -> Cluster:
    """What was published about a cluster, by the name of its preset."""
    text = (files("sim.workloads") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    content: Mapping[str, object] = YAML(typ="safe", pure=True).load(text)
    return Cluster.model_validate(content)
