"""The log format of our own: a CSV that a spreadsheet or ten lines of script can write.

Needed columns: ``job_id,submit_s,duration_s,gpus``. Optional: ``tenant,priority,gpu_kind,nodes,estimate_s``
(the user's limit), ``cpus`` and ``memory_gib`` (of the whole job). Columns stand in any order; an empty
optional cell is the default. ``submit_s`` is the simulation's clock, so it is kept as written; only Unix
times are shifted, to the earliest one.
"""

from pathlib import Path

import polars as pl

from sim import units
from sim.traces._columns import (
    WHOLE_ONLY,
    Format,
    Options,
    Rows,
    TraceRead,
    finish,
    header_names,
    read_table,
)

REQUIRED = ("job_id", "submit_s", "duration_s", "gpus")
OPTIONAL = ("tenant", "priority", "gpu_kind", "nodes", "estimate_s", "cpus", "memory_gib", "kind")

UNIX_TIME_S = 1e9
"""From here on (September 2001) a submission time is a Unix time and not a simulation's clock."""


def recognises(start: str) -> bool:
    """Whether the header has a column that only this format has."""
    return bool({"submit_s", "gpus"} & set(header_names(start, ",")))


def read(path: Path, options: Options) -> TraceRead:
    """The jobs of the CSV; a repeated id is a fault, because results are looked up by id."""
    rows = read_table(path, required=REQUIRED, optional=OPTIONAL)
    _type(rows, options)
    _refuse_repeats(rows)
    earliest = rows.frame["submit"].min()
    if isinstance(earliest, float) and earliest >= UNIX_TIME_S:
        return finish(rows, options, format_name="csv", origin=_unix)
    return finish(rows, options, format_name="csv", origin=_own_clock, origin_s=0.0)


def _refuse_repeats(rows: Rows) -> None:
    """Record the rows whose id an earlier row has, and the line of that row."""
    if rows.frame["job_id"].is_unique().all():
        return
    rows.keep(first_line=pl.col("line").first().over("job_id"))
    message = pl.format('"{}" is the id of line {} already', "job_id", "first_line")
    rows.fault(pl.col("line") != pl.col("first_line"), "job_id", message)


def _own_clock(_: float) -> str:
    return "submit_s = 0 of the file"


def _unix(zero_s: float) -> str:
    return f"the earliest submission, Unix time {zero_s:.0f}"


def _type(rows: Rows, options: Options) -> None:
    """Give each column its type and record what does not fit it."""
    rows.keep(job_id=pl.col("job_id").str.strip_chars())
    rows.fault(pl.col("job_id") == "", "job_id", pl.lit("is empty"))
    rows.number("submit_s")
    rows.number("duration_s")
    rows.number("gpus")
    rows.fault(pl.col("gpus") == 0, "gpus", pl.lit("is 0: a job needs part of a GPU at least"))
    if options.fractions == "refuse":
        message = pl.format('"{}" is part of a GPU; {}', "gpus", pl.lit(WHOLE_ONLY))
        rows.fault(pl.col("gpus") % 1 != 0, "gpus", message)
    for name in ("tenant", "gpu_kind", "kind"):
        if rows.has(name):
            text = pl.col(name).str.strip_chars()
            rows.keep(**{name: pl.when(text != "").then(text)})
    _type_optional(rows)
    rows.frame = rows.frame.rename({"submit_s": "submit", "gpus": "gpu_fraction"})


def _type_optional(rows: Rows) -> None:
    """The numbers that may be left empty."""
    if rows.has("priority"):
        rows.number("priority", whole=True, least=-1e9, needed=False)
    if rows.has("nodes"):
        rows.number("nodes", whole=True, least=1.0, needed=False)
    if rows.has("estimate_s"):
        rows.number("estimate_s", needed=False)
        rows.fault(
            pl.col("estimate_s") == 0, "estimate_s", pl.lit("is 0: leave it empty if there is no limit")
        )
    rows.numbers(("cpus", "memory_gib"))
    if rows.has("memory_gib"):
        rows.keep(memory_bytes=pl.col("memory_gib") * units.parse("1 GiB", "byte"))


FORMAT = Format("own CSV", "job_id,submit_s,duration_s,gpus", recognises, read)
