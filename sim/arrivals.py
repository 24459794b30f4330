"""The jobs that will be submitted, as one table.

One row is one job. Trace readers and synthetic workloads all end here, so the engine meets one shape,
whatever the jobs came from. Times are seconds on the simulation's clock, and rows are in order of
submission; jobs submitted at the same instant keep the order in which they were given, because first
come, first served depends on it.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import polars as pl

Column: TypeAlias = pl.Series | np.ndarray[Any, Any] | Sequence[object] | str | float | None
"""A column of the table, or one value for every job."""

SCHEMA: Mapping[str, type[pl.DataType]] = MappingProxyType(
    {
        "job_id": pl.String,  # unique; the row number where the caller gives none
        "submit_s": pl.Float64,  # >= 0, when the job enters the queue
        "duration_s": pl.Float64,  # >= 0, time on its GPUs if never interrupted; 0 ends as it starts
        "gpus": pl.Int64,  # >= 1, whole GPUs held from start to end
        "tenant": pl.String,  # who asks: a team, a virtual cluster, an account
        "kind": pl.String,  # what kind of work, for grouping in reports
        "priority": pl.Int64,  # higher is more urgent
        "gpu_kind": pl.String,  # the only GPU kind it accepts; null accepts any
        "nodes": pl.Int64,  # >= 1, exactly this many nodes; null leaves it to the placement
        "estimate_s": pl.Float64,  # > 0, the user's own limit on the duration; null if none was given
        "cpus": pl.Float64,  # >= 0, CPU cores of the whole job; null if unknown
        "memory_bytes": pl.Float64,  # >= 0, host memory of the whole job; null if unknown
        "gpu_fraction": pl.Float64,  # > 0, GPUs as recorded: 0.5 where half of one was asked for
    }
)

REQUIRED = ("submit_s", "duration_s", "gpus")

_DEFAULTS: Mapping[str, str | int] = MappingProxyType(
    {"tenant": "default", "kind": "training", "priority": 0}
)
_AT_LEAST: Mapping[str, int] = MappingProxyType(
    {"submit_s": 0, "duration_s": 0, "gpus": 1, "nodes": 1, "cpus": 0, "memory_bytes": 0}
)
_ABOVE_ZERO = ("estimate_s", "gpu_fraction")
_MAY_BE_NULL = ("nodes", "estimate_s", "cpus", "memory_bytes")
_CHECKED = tuple(name for name in SCHEMA if name != "gpu_kind")


def table(**columns: Column) -> pl.DataFrame:
    """The jobs in order of submission, with defaults for the columns that are not given.

    ``submit_s``, ``duration_s`` and ``gpus`` are needed; the others are those of SCHEMA. A single value
    stands for every job, a null in an optional column for its default. Raises ValueError, with the column,
    the row and the value, for a job that cannot be.

    >>> table(submit_s=[60.0, 0.0], duration_s=[10.0, 20.0], gpus=[1, 8])["job_id"].to_list()
    ['1', '0']
    """
    unknown = [name for name in columns if name not in SCHEMA]
    missing = [name for name in REQUIRED if name not in columns]
    if unknown or missing:
        raise ValueError(f"arrivals: unknown columns {unknown}, missing {missing}; there are {list(SCHEMA)}")
    jobs = _with_defaults(columns)
    check(jobs)
    return in_order(jobs)


def in_order(jobs: pl.DataFrame) -> pl.DataFrame:
    """The jobs by time of submission; file order breaks ties."""
    return jobs.sort("submit_s", maintain_order=True)


def check(jobs: pl.DataFrame) -> None:
    """Raise ValueError at the first job that cannot be.

    That is a number that is negative or not finite, a job without a GPU, an empty cell where the engine
    needs a value, or an id that repeats.
    """
    if dict(jobs.schema) != dict(SCHEMA):
        raise ValueError(f"the arrivals table has columns {dict(jobs.schema)}; expected {dict(SCHEMA)}")
    for name in _CHECKED:
        _refuse(jobs, name, _impossible(name), _expected(name))
    _refuse(jobs, "job_id", ~pl.col("job_id").is_first_distinct(), "an id of its own for each job")


def merge(tables: Sequence[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """One table of all the jobs of several named workloads, in order of submission.

    Ties go to the workload that comes first. Ids stay as they are if they differ; if two workloads share
    an id, each job is called ``workload/id``. Workloads of one name are told apart by their position.
    """
    if not tables:
        return EMPTY
    merged = pl.concat([jobs for _, jobs in tables])
    if merged["job_id"].is_duplicated().any():
        names = _distinct([name for name, _ in tables])
        merged = pl.concat([_prefixed(name, jobs) for name, (_, jobs) in zip(names, tables, strict=True)])
    check(merged)
    return in_order(merged)


def _prefixed(name: str, jobs: pl.DataFrame) -> pl.DataFrame:
    """The jobs with the name of their workload in their ids."""
    return jobs.with_columns(pl.concat_str(pl.lit(f"{name}/"), "job_id").alias("job_id"))


def _with_defaults(columns: Mapping[str, Column]) -> pl.DataFrame:
    """All the columns of SCHEMA, in the types of SCHEMA."""
    whole = {name: _whole_column(name, values) for name, values in columns.items()}
    heights = {name: len(values) for name, values in whole.items() if values is not None}
    height = max(heights.values(), default=1)
    if any(length != height for length in heights.values()):
        raise ValueError(f"arrivals: columns of different lengths: {heights}")
    jobs = pl.DataFrame([_typed(name, whole.get(name), columns.get(name), height) for name in SCHEMA])
    return jobs.with_columns(
        pl.col("job_id").fill_null(pl.int_range(pl.len()).cast(pl.String)),
        *(pl.col(name).fill_null(value) for name, value in _DEFAULTS.items()),
        pl.col("gpu_fraction").fill_null(pl.col("gpus").cast(pl.Float64)),
    )


def _whole_column(name: str, values: Column) -> pl.Series | None:
    """The values of a whole column; None if one value was given for every job."""
    if isinstance(values, pl.Series):
        return values
    if isinstance(values, np.ndarray) or (isinstance(values, Sequence) and not isinstance(values, str)):
        return pl.Series(name, values, strict=False)
    return None


def _typed(name: str, whole: pl.Series | None, single: object, height: int) -> pl.Series:
    """One column in its type; whole numbers given as floats are taken, fractions are not cut off."""
    series = pl.Series([single] * height) if whole is None else whole
    if SCHEMA[name] is pl.Int64 and series.dtype.is_float() and bool((series.drop_nulls() % 1 != 0).any()):
        raise ValueError(f"arrivals: {name} must be whole numbers")
    return series.cast(SCHEMA[name]).alias(name)


def _impossible(name: str) -> pl.Expr:
    """Which rows hold a value that no job can have."""
    column = pl.col(name)
    wrong = [] if name in _MAY_BE_NULL else [column.is_null()]
    if SCHEMA[name] is pl.Float64:
        wrong.append(~column.is_finite())
    if name in _AT_LEAST:
        wrong.append(column < _AT_LEAST[name])
    if name in _ABOVE_ZERO:
        wrong.append(column <= 0)
    return pl.any_horizontal(condition.fill_null(value=False) for condition in wrong)


def _expected(name: str) -> str:
    """What the values of a column must be, in words."""
    if name in _ABOVE_ZERO:
        return "a finite number above 0"
    return f"a finite number of at least {_AT_LEAST[name]}" if name in _AT_LEAST else "a value"


def _refuse(jobs: pl.DataFrame, name: str, wrong: pl.Expr, expected: str) -> None:
    """Raise ValueError that names the first wrong row and counts them all."""
    rows = jobs.with_row_index("row").filter(wrong)
    if rows.height:
        found = f"{name} of row {rows['row'][0]} is {rows[name][0]!r}"
        raise ValueError(f"arrivals: {found}, expected {expected} ({rows.height:,} such rows)")


def _distinct(names: Sequence[str]) -> list[str]:
    """Names made different from one another by their position where they repeat."""
    return [f"{name}{place}" if names.count(name) > 1 else name for place, name in enumerate(names, start=1)]


EMPTY = table(submit_s=[], duration_s=[], gpus=[])
"""No job at all, in the right columns."""
