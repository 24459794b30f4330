"""Philly (Microsoft, 2017): the digest with one row per job, and the original log in JSON.

Digest: ``timestamp,duration,num_gpus,gpu_time,cluster``, as published with the Sia and ElasticFlow
artifacts; no ids, so a job is called by the number of its row. The original ``cluster_job_log``
is a JSON list of jobs with their scheduling attempts (README of msr-fiddle/philly-traces, commit 29a1b87).
In both, the virtual cluster is the tenant and times are local wall time without a zone.
Cite Jeon et al., USENIX ATC 2019.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sim.traces._columns import (
    CPU_ONLY,
    NEVER_STARTED,
    RUNNING,
    Format,
    Options,
    Rows,
    TraceRead,
    finish,
    first_line,
    header_names,
    read_table,
    read_text,
    refuse,
    wall_clock,
)

REQUIRED = ("timestamp", "duration", "num_gpus", "cluster")
OPTIONAL = ("gpu_time",)
ATTEMPT_UNKNOWN = "no attempt with both a start and an end, so its duration is not known"

_JOB_SCHEMA = {
    "line": pl.UInt32,
    "job_id": pl.String,
    "tenant": pl.String,
    "status": pl.String,
    "submit": pl.String,
    "gpu_fraction": pl.Float64,
    "nodes": pl.Int64,
    "attempts": pl.Int64,
    "ended": pl.Boolean,
}
_ATTEMPT_SCHEMA = {"line": pl.UInt32, "start": pl.String, "end": pl.String}


def recognises(start: str) -> bool:
    """Whether it is the header of the digest, or the start of a list in JSON."""
    return set(REQUIRED) <= set(header_names(start, ",")) or start.lstrip().startswith("[")


def read(path: Path, options: Options) -> TraceRead:
    """The jobs of the digest or of the original log, whichever the file is."""
    if first_line(path).lstrip().startswith("["):
        return _read_log(path, options)
    return _read_digest(path, options)


def _read_digest(path: Path, options: Options) -> TraceRead:
    """One row per job; file order is not time order."""
    rows = read_table(path, required=REQUIRED, optional=OPTIONAL)
    rows.keep(job_id=pl.int_range(1, pl.len() + 1).cast(pl.String))
    rows.moment("timestamp")
    rows.number("num_gpus", whole=True)
    rows.leave_out(pl.col("num_gpus") == 0, CPU_ONLY)
    rows.number("duration")
    rows.frame = rows.frame.rename(
        {"timestamp": "submit", "duration": "duration_s", "num_gpus": "gpu_fraction", "cluster": "tenant"}
    )
    return finish(rows, options, format_name="philly", origin=wall_clock)


def _read_log(path: Path, options: Options) -> TraceRead:
    """The original log: a job lasts as long as its attempts together, on the GPUs of the last one.

    A retry holds GPUs like a first try, so leaving the earlier attempts out would understate the load.
    """
    entries = _entries(path)
    jobs = pl.DataFrame([_job(number, entry) for number, entry in enumerate(entries, 1)], schema=_JOB_SCHEMA)
    rows = Rows(path, jobs, jobs.height, notes=["this log is JSON: its line numbers count jobs, from 1"])
    rows.leave_out(pl.col("attempts") == 0, NEVER_STARTED)
    rows.leave_out(~pl.col("ended"), RUNNING)
    rows.leave_out(pl.col("gpu_fraction") == 0, CPU_ONLY)
    rows.moment("submit")
    rows.frame = rows.frame.join(_attempts(rows, entries), on="line", how="left", maintain_order="left")
    rows.leave_out(pl.col("duration_s").is_null(), ATTEMPT_UNKNOWN)
    rows.note(
        rows.count(pl.col("attempts") > 1),
        "job was",
        "jobs were",
        "tried more than once: all attempts are one job",
    )
    return finish(rows, options, format_name="philly", origin=wall_clock)


def _entries(path: Path) -> list[dict[str, Any]]:
    """The jobs of the JSON list."""
    try:
        entries = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise refuse(path, f"is not JSON: {error.msg}", line=error.lineno) from None
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise refuse(path, "is not a list of jobs")
    return list(entries)


def _job(number: int, entry: Mapping[str, Any]) -> dict[str, object]:
    """One job of the original log as a flat row."""
    attempts = entry.get("attempts") or []
    last = attempts[-1] if attempts else {}
    detail = last.get("detail") or []
    return {
        "line": number,
        "job_id": str(entry.get("jobid") or number),
        "tenant": entry.get("vc"),
        "status": entry.get("status"),
        "submit": _moment(entry.get("submitted_time")),
        "gpu_fraction": float(sum(len(server.get("gpus") or []) for server in detail)),
        "nodes": len(detail) or None,
        "attempts": len(attempts),
        "ended": _moment(last.get("end_time")) is not None,
    }


def _attempts(rows: Rows, entries: list[dict[str, Any]]) -> pl.DataFrame:
    """For each job: time in all of its attempts, the start of the first and the end of the last."""
    times = [
        (number, _moment(attempt.get("start_time")), _moment(attempt.get("end_time")))
        for number, entry in enumerate(entries, 1)
        for attempt in entry.get("attempts") or []
    ]
    known = pl.DataFrame(times, schema=_ATTEMPT_SCHEMA, orient="row").filter(
        pl.col("line").is_in(rows.frame["line"].implode())
    )
    unknown = known.filter(known["start"].is_null()).height
    rows.note(unknown, "attempt has", "attempts have", "no start: no time is counted")
    attempts = Rows(rows.path, known.drop_nulls(), known.height)
    attempts.moment("start")
    attempts.moment("end")
    attempts.fault(pl.col("end") < pl.col("start"), "end_time", pl.lit("is before start_time"))
    rows.found.extend(attempts.found)
    return attempts.frame.group_by("line").agg(
        duration_s=(pl.col("end") - pl.col("start")).sum(),
        start=pl.col("start").min(),
        end=pl.col("end").max(),
    )


def _moment(text: object) -> str | None:
    """A time of the log, which writes an unknown one as null or as the word None."""
    return None if text in {None, "", "None"} else str(text)


FORMAT = Format(
    "Philly digest or job log", "timestamp,duration,num_gpus,gpu_time,cluster or [{...", recognises, read
)
