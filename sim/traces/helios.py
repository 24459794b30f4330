"""Helios (SenseTime, 2020): the original ``cluster_log.csv``, and a slice of it in other columns.

Original: ``job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue``,
local wall times, seconds (README of S-Lab-System-Group/HeliosData, commit 106713b). Slice:
``job_id,user,tenant,class,submit_time,num_chips,chip_type,num_nodes,duration_s,walltime_limit_s,final_status``
with ``submit_time`` in microseconds. The virtual cluster is the tenant. Cite Hu et al., SC 2021.
"""

from pathlib import Path

import polars as pl

from sim.traces._columns import (
    CPU_ONLY,
    NEVER_STARTED,
    Format,
    Options,
    Rows,
    TraceRead,
    finish,
    first_line,
    header_names,
    read_table,
    wall_clock,
)

REQUIRED = ("job_id", "vc", "gpu_num", "submit_time", "duration")
OPTIONAL = ("user", "state", "cpu_num", "node_num", "start_time", "end_time", "queue")
SLICE_REQUIRED = ("job_id", "tenant", "submit_time", "num_chips", "duration_s")
SLICE_OPTIONAL = ("user", "class", "chip_type", "num_nodes", "walltime_limit_s", "final_status")

MICROSECONDS = 1e6
_UNKNOWN = ("None", "nan", "NaN", "Unknown")


def recognises(start: str) -> bool:
    """Whether the header is that of the original log or of the slice."""
    names = set(header_names(start, ","))
    return {"vc", "gpu_num"} <= names or {"num_chips", "submit_time"} <= names


def read(path: Path, options: Options) -> TraceRead:
    """The GPU jobs of the original log or of the slice, whichever the header says."""
    if "num_chips" in header_names(first_line(path), ","):
        return _read_slice(path, options)
    return _read_original(path, options)


def _read_original(path: Path, options: Options) -> TraceRead:
    """One row per job that Slurm accepted, CPU-only ones among them."""
    rows = read_table(path, required=REQUIRED, optional=OPTIONAL)
    rows.number("gpu_num", whole=True)
    rows.leave_out(pl.col("gpu_num") == 0, CPU_ONLY)
    if rows.has("start_time"):
        rows.moment("start_time", unknown=_UNKNOWN, needed=False)
        rows.leave_out(
            pl.col("start_time").is_null() & pl.col("duration").str.strip_chars().is_in(["", "0", *_UNKNOWN]),
            NEVER_STARTED,
        )
    if rows.has("end_time"):
        rows.moment("end_time", unknown=_UNKNOWN, needed=False)
    rows.moment("submit_time")
    rows.number("duration")
    rows.numbers(("cpu_num", "node_num"), unknown=_UNKNOWN)
    _rename(
        rows,
        vc="tenant",
        gpu_num="gpu_fraction",
        cpu_num="cpus",
        node_num="nodes",
        state="status",
        submit_time="submit",
        start_time="start",
        end_time="end",
        duration="duration_s",
    )
    return finish(rows, options, format_name="helios", origin=wall_clock)


def _read_slice(path: Path, options: Options) -> TraceRead:
    """One row per GPU job; an empty chip_type accepts any GPU."""
    rows = read_table(path, required=SLICE_REQUIRED, optional=SLICE_OPTIONAL)
    rows.number("num_chips", whole=True)
    rows.leave_out(pl.col("num_chips") == 0, CPU_ONLY)
    rows.number("submit_time")
    rows.keep(submit_time=pl.col("submit_time") / MICROSECONDS)
    rows.number("duration_s")
    rows.numbers(("num_nodes", "walltime_limit_s"))
    if rows.has("chip_type"):
        rows.keep(gpu_kind=pl.when(pl.col("chip_type") != "").then("chip_type"))
    if rows.has("walltime_limit_s"):
        rows.keep(estimate_s=pl.when(pl.col("walltime_limit_s") > 0).then("walltime_limit_s"))
    _rename(rows, submit_time="submit", num_chips="gpu_fraction", num_nodes="nodes", final_status="status")
    return finish(rows, options, format_name="helios", origin=_slice_clock)


def _slice_clock(zero_s: float) -> str:
    return f"the earliest submission, {zero_s:,.0f} s after the zero of the file"


def _rename(rows: Rows, **names: str) -> None:
    """Call the columns that the file has as finish expects them; no node count is not a count of zero."""
    rows.frame = rows.frame.rename({old: new for old, new in names.items() if rows.has(old)})
    if rows.has("nodes"):
        rows.keep(nodes=pl.when(pl.col("nodes") > 0).then("nodes"))


FORMAT = Format(
    "Helios log or slice", "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,...", recognises, read
)
