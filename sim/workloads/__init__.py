"""The jobs that a scenario submits: replayed from a log, synthetic, or after a published cluster."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from sim import arrivals
from sim.errors import PlanError
from sim.workloads.jobs import WorkloadJobs
from sim.workloads.preset import Preset
from sim.workloads.processes import MOST_JOBS
from sim.workloads.synthetic import Synthetic
from sim.workloads.trace import TraceFile, TraceWorkload
from sim.workloads.training import Training
from sim.workloads.training_steps import TrainingSteps

__all__ = [
    "MOST_JOBS",
    "WORKLOADS",
    "Preset",
    "Synthetic",
    "TraceFile",
    "TraceWorkload",
    "Training",
    "TrainingSteps",
    "Workload",
    "WorkloadJobs",
    "generate",
    "logs",
]

WORKLOADS: Mapping[str, type[TraceWorkload | Synthetic | Preset]] = MappingProxyType(
    {"trace": TraceWorkload, "synthetic": Synthetic, "preset": Preset}
)

Workload = Annotated[TraceWorkload | Synthetic | Preset, Field(discriminator="kind")]


def logs(workload: Workload) -> list[TraceFile]:
    """The logs that a workload reads: the one it replays, or those that it draws sizes and durations from."""
    parts = (workload, *(part for _, part in workload))
    return [part for part in parts if isinstance(part, TraceFile)]


def generate(workloads: Sequence[Workload], seed: int, horizon_s: float | None, folder: Path) -> WorkloadJobs:
    """All the jobs of all the workloads that are submitted before the horizon, in order of submission.

    The same arguments give the same jobs, to the byte. A workload without a name of its own is called by its
    kind and its place in the list, and so are its random streams. ``folder`` is where relative paths start.
    Raises PlanError for what cannot be generated, TraceError for a log that cannot be used.
    """
    names = [workload.name or f"{workload.kind}{place}" for place, workload in enumerate(workloads, start=1)]
    if len(set(names)) < len(names):
        raise PlanError(f"workloads need names of their own; there are {', '.join(names)}")
    made = [
        workload.model_copy(update={"name": name}).jobs(seed, horizon_s, folder)
        for name, workload in zip(names, workloads, strict=True)
    ]
    left_out: Counter[str] = Counter()
    for part in made:
        left_out.update(part.left_out)
    jobs = arrivals.merge([(name, part.jobs) for name, part in zip(names, made, strict=True)])
    return WorkloadJobs(jobs, dict(left_out), tuple(note for part in made for note in part.notes))
