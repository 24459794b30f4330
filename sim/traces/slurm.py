"""Slurm accounting: the output of ``sacct --parsable2``.

    sacct --allusers --parsable2 --noconvert --duplicates --format=JobIDRaw,User,Account,Partition,QOS,
    Submit,Eligible,Start,End,ElapsedRaw,TimelimitRaw,State,ReqTRES,AllocTRES,NNodes

GPUs are ``gres/gpu=N`` in AllocTRES, or in ReqTRES where nothing was allocated; ``gres/gpu:a100=N`` names
a kind and is not counted again beside the total. ElapsedRaw is in seconds, TimelimitRaw in minutes; Elapsed
and Timelimit, written 1-02:03:04, will do in their place. Wall times are local without a zone. A job arrives
at Submit, not at Eligible: held and dependent jobs are in the queue from Submit on. The account is the
tenant. Fields: slurm.schedmd.com/sacct.html.
"""

from pathlib import Path

import polars as pl

from sim import units, words
from sim.traces._columns import (
    CANCELLED,
    CPU_ONLY,
    NEVER_STARTED,
    RUNNING,
    Format,
    Options,
    Rows,
    TraceRead,
    finish,
    header_names,
    read_table,
    refuse,
    wall_clock,
)

REQUIRED = ("submit", "state")
OPTIONAL = (
    "elapsedraw",
    "elapsed",
    "timelimit",
    "jobidraw",
    "jobid",
    "user",
    "account",
    "partition",
    "qos",
    "eligible",
    "start",
    "end",
    "timelimitraw",
    "reqtres",
    "alloctres",
    "nnodes",
)
STEP = "step of a job, not a job"
EARLIER_RUN = "earlier run of a job that was put back in the queue"
MINUTE_S = 60.0

_UNKNOWN = ("Unknown", "None", "N/A")
_NO_LIMIT = ("UNLIMITED", "Partition_Limit", "INVALID", *_UNKNOWN)
_CLOCK = r"^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?$"
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")


def recognises(start: str) -> bool:
    """Whether it is a header with | between its names, State among them."""
    return "|" in start and {"state", "jobid", "jobidraw"} & set(header_names(start, "|")) != set()


def read(path: Path, options: Options) -> TraceRead:
    """The GPU jobs of the accounting log; steps and earlier runs of a requeued job are left out."""
    rows = read_table(path, required=REQUIRED, optional=OPTIONAL, separator="|")
    id_column = "jobidraw" if rows.has("jobidraw") else "jobid"
    timed = rows.has("elapsedraw") or rows.has("elapsed")
    if not rows.has(id_column) or not timed or not (rows.has("alloctres") or rows.has("reqtres")):
        needed = "JobIDRaw, ElapsedRaw, and AllocTRES or ReqTRES"
        raise refuse(path, f"needs the columns {needed}; add them to --format", line=1)
    rows.keep(job_id=pl.col(id_column), status=pl.col("state").str.extract(r"^\s*(\S+)").str.to_uppercase())
    rows.leave_out(pl.col("job_id").str.contains(".", literal=True), STEP)
    _count_time(rows, "elapsed", "elapsedraw", 1.0)
    _count_time(rows, "timelimit", "timelimitraw", MINUTE_S)
    _gpus(rows)
    rows.leave_out(pl.col("gpu_fraction") == 0, CPU_ONLY)
    _times(rows)
    _keep_last_run(rows)
    _demand(rows)
    rows.notes.append("a job arrives at its Submit time; holds and dependencies (Eligible) count as waiting")
    return finish(rows, options, format_name="slurm", origin=wall_clock)


def _count_time(rows: Rows, written: str, counted: str, unit_s: float) -> None:
    """Where only the written form of a time is there, 1-02:03:04, count it as the raw column would."""
    if rows.has(counted) or not rows.has(written):
        return
    parts = pl.col(written).str.strip_chars().str.extract_groups(_CLOCK).struct
    days, hours, minutes, seconds = (
        parts.field(str(place)).cast(pl.Float64, strict=False) for place in range(1, 5)
    )
    time_s = days.fill_null(0) * 86_400 + hours.fill_null(0) * 3600 + minutes * 60 + seconds
    unknown = pl.col(written).str.strip_chars().is_in(["", *_NO_LIMIT])
    message = pl.format('"{}" is not a time such as 1-02:03:04', pl.col(written).str.slice(0, 40))
    rows.fault(time_s.is_null() & ~unknown, written, message)
    rows.keep(**{counted: (time_s / unit_s).floor().cast(pl.Int64).cast(pl.String).fill_null("")})


def _gpus(rows: Rows) -> None:
    """Add the GPUs a job was given (or asked for, if given none), and the one kind they are of."""
    for name in ("alloctres", "reqtres"):
        if not rows.has(name):
            rows.keep(**{name: pl.lit("")})
    given, asked = _tres_gpus("alloctres"), _tres_gpus("reqtres")
    counted = pl.when(given > 0).then(given).otherwise(asked)
    kind_given, kind_asked = _tres_kind("alloctres"), _tres_kind("reqtres")
    rows.keep(gpu_fraction=counted, gpu_kind=pl.coalesce(kind_asked, kind_given), kind_asked=kind_asked)
    by_allocation = rows.count(pl.col("gpu_kind").is_not_null() & pl.col("kind_asked").is_null())
    rows.note(
        by_allocation,
        "row names",
        "rows name",
        "the GPU kind that was given, not one that was asked for: it is taken as asked for",
    )


def _tres_gpus(name: str) -> pl.Expr:
    """GPUs in a list of trackable resources: the total if there is one, else the sum over kinds."""
    total = pl.col(name).str.extract(r"(?:^|,)gres/gpu=(\d+)").cast(pl.Float64)
    by_kind = pl.col(name).str.extract_all(r"gres/gpu:[^=,]+=\d+")
    each = by_kind.list.eval(pl.element().str.extract(r"=(\d+)$").cast(pl.Float64)).list.sum()
    return pl.coalesce(total, each).fill_null(0.0)


def _tres_kind(name: str) -> pl.Expr:
    """The GPU kind in a list of trackable resources, if there is exactly one."""
    kinds = pl.col(name).str.extract_all(r"gres/gpu:[^=,]+=")
    one = kinds.list.len() == 1
    return pl.when(one).then(kinds.list.first().str.extract(r"gres/gpu:([^=]+)="))


def _times(rows: Rows) -> None:
    """Type the times, and leave out the jobs that never ran or have not ended."""
    for name in ("start", "end"):
        if rows.has(name):
            rows.moment(name, unknown=_UNKNOWN, needed=False)
        else:
            rows.keep(**{name: pl.lit(None, pl.Float64)})
    started = pl.col("start").is_not_null()
    if rows.frame["start"].null_count() == rows.frame.height:
        started = ~pl.col("elapsedraw").is_in(["", "0"])
    rows.leave_out(pl.col("status").is_in(_WAITING) & ~started, NEVER_STARTED)
    nothing_given = (pl.col("alloctres") == "") & (pl.col("elapsedraw") == "0")
    rows.leave_out(pl.col("status").str.starts_with("CANCELLED") & (~started | nothing_given), CANCELLED)
    rows.leave_out(~started, NEVER_STARTED)
    rows.leave_out(pl.col("status").is_in(["RUNNING", "SUSPENDED", "COMPLETING"]), RUNNING)
    rows.moment("submit", unknown=_UNKNOWN)
    rows.number("elapsedraw")
    rows.keep(duration_s=pl.col("elapsedraw"))


def _keep_last_run(rows: Rows) -> None:
    """Of the runs of a requeued job (one id, one user) keep the last, from the first submission on."""
    job = ["job_id", "user"] if rows.has("user") else ["job_id"]
    last = pl.struct("submit", "start", "line").rank("ordinal").over(job) == pl.len().over(job)
    lost_h = rows.frame.filter(~last.fill_null(value=True)).select(
        (pl.col("gpu_fraction") * pl.col("duration_s")).sum() / 3600
    )
    rows.keep(submit=pl.col("submit").min().over(job), last=last)
    rows.note(
        rows.count(~pl.col("last")),
        "earlier run of a requeued job is",
        "earlier runs of requeued jobs are",
        f"left out ({words.gpu_hours(lost_h.item())}): the last is the job",
    )
    rows.leave_out(~pl.col("last"), EARLIER_RUN)


def _demand(rows: Rows) -> None:
    """What else a job asked for: limit, nodes, CPUs, memory, and who asked."""
    if rows.has("timelimitraw"):
        rows.number("timelimitraw", unknown=_NO_LIMIT, needed=False)
        limit_s = pl.col("timelimitraw") * MINUTE_S
        rows.keep(estimate_s=pl.when(limit_s > 0).then(limit_s))
    if rows.has("account"):
        rows.keep(tenant=pl.when(pl.col("account") != "").then("account"))
    asked = pl.when(pl.col("reqtres") != "").then("reqtres").otherwise("alloctres")
    rows.keep(asked=asked)
    rows.keep(
        cpus=pl.col("asked").str.extract(r"(?:^|,)cpu=(\d+)").cast(pl.Float64),
        nodes=pl.col("reqtres").str.extract(r"(?:^|,)node=(\d+)").cast(pl.Int64),
        memory=pl.col("asked").str.extract(r"(?:^|,)mem=(\d+(?:\.\d+)?[KMGTP]?)"),
    )
    if rows.has("nnodes") and not rows.count(pl.col("nodes").is_not_null()):
        rows.number("nnodes", whole=True, needed=False)
        rows.keep(nodes=pl.when(pl.col("nnodes") > 0).then("nnodes"))
    written = rows.frame["memory"].unique().drop_nulls().to_list()
    sizes = {text: units.parse(_size(text), "byte") for text in written}
    rows.keep(memory_bytes=pl.col("memory").replace_strict(sizes, default=None, return_dtype=pl.Float64))


def _size(text: str) -> str:
    """Slurm's sizes with their unit: M is MiB, and a bare number is in MiB too.

    >>> _size("512000M"), _size("64")
    ('512000 MiB', '64 MiB')
    """
    number, prefix = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "M")
    return f"{number} {prefix}iB"


FORMAT = Format(
    "Slurm sacct --parsable2", "JobIDRaw|User|Account|...|State|ReqTRES|AllocTRES|NNodes", recognises, read
)
