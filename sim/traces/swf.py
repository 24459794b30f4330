"""Standard Workload Format of the Parallel Workloads Archive: 18 columns, ``;`` comments, -1 unknown.

The format counts processors and knows no GPUs, so the user says how many GPUs stand behind one processor.
The wanted number is taken before the allocated one. A job that was swapped out has one line as a whole
(status 0 or 1) and one for each part (2, 3, 4); the definition wants studies of a workload to use the whole
alone. Definition: D. Feitelson, "The Standard Workload Format",
www.cs.huji.ac.il/labs/parallel/workload/swf.html.
"""

import re
from pathlib import Path

import polars as pl

from sim.traces._columns import (
    CANCELLED,
    CPU_ONLY,
    NEVER_STARTED,
    Format,
    Options,
    Rows,
    TraceRead,
    finish,
    numbered_lines,
    read_text,
    refuse,
    split,
)

COLUMNS = (
    "job_id",
    "submit",
    "wait",
    "run",
    "allocated",
    "cpu_time",
    "used_memory",
    "wanted",
    "wanted_time",
    "wanted_memory",
    "status",
    "user",
    "group",
    "executable",
    "queue",
    "partition",
    "before",
    "think",
)
CANCELLED_STATUS = "5"
PARTIAL_STATUSES = ("2", "3", "4")
PARTIAL = "part of a job that is also there as a whole"
NO_SUBMISSION = "submission time not known"
_NUMBERS = ("submit", "wait", "run", "allocated", "wanted", "wanted_time")
NO_PROCESSORS = "number of processors not known"
NO_DURATION = "run time not known"


def recognises(start: str) -> bool:
    """Whether it is a comment of the format, or 18 numbers."""
    fields = start.split()
    return start.lstrip().startswith(";") or (
        len(fields) >= len(COLUMNS) and all(re.fullmatch(r"-?\d+(\.\d+)?", field) for field in fields[:18])
    )


def read(path: Path, options: Options) -> TraceRead:
    """The jobs of the log, their processors turned into GPUs as the user says."""
    gpus_each = options.gpus_per_processor
    if gpus_each is None or not 0 < gpus_each < float("inf"):
        raise refuse(
            path,
            "SWF counts processors, not GPUs: say how many GPUs one processor stands for, "
            "gpus_per_processor: 1 if each is a GPU, 0.125 if 8 processors share one",
        )
    rows, started = _rows(path)
    for name in _NUMBERS:
        rows.number(name, least=-1.0)
    wanted = pl.when(pl.col("wanted") > 0).then("wanted").otherwise("allocated")
    rows.keep(processors=wanted)
    rows.leave_out(pl.col("status").is_in(PARTIAL_STATUSES), PARTIAL)
    rows.leave_out(pl.col("submit") < 0, NO_SUBMISSION)
    rows.leave_out((pl.col("status") == CANCELLED_STATUS) & (pl.col("run") <= 0), CANCELLED)
    rows.leave_out(pl.col("processors") < 0, NO_PROCESSORS)
    rows.leave_out(pl.col("processors") == 0, CPU_ONLY)
    rows.leave_out((pl.col("run") < 0) & (pl.col("wait") < 0), NEVER_STARTED)
    rows.leave_out(pl.col("run") < 0, NO_DURATION)
    _name(rows, gpus_each)
    return finish(rows, options, format_name="swf", origin=lambda zero_s: _origin(zero_s, started))


def _rows(path: Path) -> tuple[Rows, str | None]:
    """The rows without comments or columns beyond the 18th, and the UnixStartTime of the header."""
    text = read_text(path)
    started = re.search(r"^;\s*UnixStartTime:\s*(\d+)", text, re.MULTILINE)
    lines = numbered_lines(text).filter(~pl.col("text").str.contains(r"^\s*;"))
    fields = lines["text"].str.strip_chars().str.replace_all(r"\s+", ",")
    longer = fields.str.count_matches(",", literal=True) >= len(COLUMNS)
    first_18 = fields.str.extract(rf"^((?:[^,]*,){{{len(COLUMNS) - 1}}}[^,]*)").fill_null(fields)
    rows = split(path, lines.with_columns(text=first_18), COLUMNS, ",")
    rows.note(
        int(longer.sum()),
        "line has",
        "lines have",
        "more than the 18 columns of SWF: the others were not read",
    )
    return rows, started[1] if started else None


def _name(rows: Rows, gpus_each: float) -> None:
    """Call the columns as finish expects them."""
    limit = pl.col("wanted_time")
    rows.keep(
        gpu_fraction=pl.col("processors") * gpus_each,
        duration_s=pl.col("run"),
        estimate_s=pl.when(limit > 0).then(limit),
        start=pl.when(pl.col("wait") >= 0).then(pl.col("submit") + pl.col("wait")),
        end=pl.when(pl.col("wait") >= 0).then(pl.col("submit") + pl.col("wait") + pl.col("run")),
        tenant=pl.when(pl.col("group") != "-1").then(pl.format("group {}", "group")),
        kind=pl.when(pl.col("queue") != "-1").then(pl.format("queue {}", "queue")),
    )
    rows.notes.append(
        f"GPUs per processor: {gpus_each:g}, as asked; the tenant is the group, the kind the queue"
    )


def _origin(zero_s: float, started: str | None) -> str:
    known = f" that began at Unix time {started}" if started else ""
    return f"the earliest submission, {zero_s:,.0f} s after the zero of a log{known}"


FORMAT = Format("Standard Workload Format", "; comments, then 18 columns of numbers", recognises, read)
