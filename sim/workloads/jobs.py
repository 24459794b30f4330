"""What a workload hands to the engine: its jobs, and what the report must say about them."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class WorkloadJobs:
    """The jobs that will be submitted, in the shape of ``arrivals.SCHEMA``.

    ``left_out`` counts, by reason, what was recorded and will not be submitted; ``notes`` are sentences for
    the report: where the jobs come from, and what was changed on the way.
    """

    jobs: pl.DataFrame
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()
