"""Acme (Shanghai AI Laboratory, 2023): the logs of the clusters Seren and Kalos.

``job_id,user,node_num,gpu_num,cpu_num,type,state,submit_time,start_time,end_time,duration,queue,gpu_time``;
Kalos adds ``mem_per_pod_GB,shared_mem_per_pod,fail_time,stop_time`` (README of InternLM/AcmeTrace, commit
6d6ac9c). Times carry a zone. There is no virtual cluster, so every job is of the default tenant; the type of
work is the kind. Cite Hu et al., NSDI 2024.

The README defines duration as end - start, but the Kalos rows it shows hold end - submission. A job
therefore lasts end - start here, wherever both are known.
"""

from pathlib import Path

import polars as pl

from sim.traces._columns import (
    CPU_ONLY,
    NEVER_STARTED,
    Format,
    Options,
    TraceRead,
    finish,
    header_names,
    read_table,
    utc_clock,
)

REQUIRED = ("job_id", "gpu_num", "type", "state", "submit_time", "duration")
OPTIONAL = (
    "user",
    "node_num",
    "cpu_num",
    "start_time",
    "end_time",
    "queue",
    "gpu_time",
    "mem_per_pod_gb",
    "shared_mem_per_pod",
    "fail_time",
    "stop_time",
)
GB = 1e9
_UNKNOWN = ("None", "nan", "NaN", "NaT")


def recognises(start: str) -> bool:
    """Whether the header has the columns that only Acme's logs have together."""
    return {"gpu_num", "type", "state"} <= set(header_names(start, ","))


def read(path: Path, options: Options) -> TraceRead:
    """The GPU jobs of Seren or Kalos."""
    rows = read_table(path, required=REQUIRED, optional=OPTIONAL)
    rows.number("gpu_num", whole=True)
    rows.leave_out(pl.col("gpu_num") == 0, CPU_ONLY)
    for name in ("start_time", "end_time"):
        if rows.has(name):
            rows.moment(name, unknown=_UNKNOWN, needed=False)
        else:
            rows.keep(**{name: pl.lit(None, pl.Float64)})
    never = pl.col("start_time").is_null() & pl.col("duration").str.strip_chars().is_in(["", "0", *_UNKNOWN])
    rows.leave_out(never, NEVER_STARTED)
    rows.moment("submit_time")
    rows.number("duration", unknown=_UNKNOWN, needed=False)
    rows.numbers(("node_num", "cpu_num", "mem_per_pod_gb"), unknown=_UNKNOWN)
    between_s = pl.col("end_time") - pl.col("start_time")
    rows.note(
        rows.count((between_s - pl.col("duration")).abs() > 1),
        "job has",
        "jobs have",
        "a duration that is not end - start (Kalos counts the queue in): end - start is used",
    )
    rows.keep(duration_s=pl.when(between_s >= 0).then(between_s).otherwise("duration"))
    rows.fault(pl.col("duration_s").is_null(), "duration", pl.lit("is unknown, and so is end - start"))
    if rows.has("node_num"):
        rows.keep(nodes=pl.when(pl.col("node_num") > 0).then("node_num"))
    if rows.has("cpu_num"):
        rows.keep(cpus=pl.col("cpu_num"))
    if rows.has("mem_per_pod_gb") and rows.has("node_num"):
        rows.keep(memory_bytes=pl.col("mem_per_pod_gb") * pl.col("node_num") * GB)
    rows.frame = rows.frame.rename(
        {
            "gpu_num": "gpu_fraction",
            "type": "kind",
            "state": "status",
            "submit_time": "submit",
            "start_time": "start",
            "end_time": "end",
        }
    )
    return finish(rows, options, format_name="acme", origin=utc_clock)


FORMAT = Format(
    "Acme Seren or Kalos", "job_id,user,node_num,gpu_num,cpu_num,type,state,submit_time,...", recognises, read
)
