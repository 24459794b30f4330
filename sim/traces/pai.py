"""PAI (Alibaba, 2020): the job table and the task table of cluster-trace-gpu-v2020.

Job table, without a header: ``job_name,inst_id,user,status,start_time,end_time``; its start is the
submission. Task table: ``job_name,task_name,inst_num,status,start_time,end_time,plan_cpu,plan_mem,plan_gpu,
gpu_type``; its start is the launch, plan_cpu and plan_gpu are per cent of one CPU and one GPU for each
instance, plan_mem is GB, gpu_type is the kind that was assigned (README of alibaba/clusterdata, commit
02a1be1). Cite Weng et al., NSDI 2022.

A job is one gang here: it asks for the GPUs of all its tasks at once and holds them from the first launch
to the last end. The path is the folder of both tables or either of them.
"""

from pathlib import Path

import polars as pl

from sim import words
from sim.traces._columns import (
    BLANK,
    CPU_ONLY,
    NEVER_STARTED,
    RUNNING,
    Format,
    Options,
    Rows,
    TraceRead,
    finish,
    numbered_lines,
    read_text,
    refuse,
    settle,
    split,
)

JOB_COLUMNS = ("job_name", "inst_id", "user", "status", "start_time", "end_time")
TASK_COLUMNS = (
    "job_name",
    "task_name",
    "inst_num",
    "status",
    "start_time",
    "end_time",
    "plan_cpu",
    "plan_mem",
    "plan_gpu",
    "gpu_type",
)
STATUSES = {"Terminated", "Failed", "Running", "Waiting", "status"}
NO_TASK = "no task in the task table"
NO_DURATION = "no launch or no end in the task table, so its duration is not known"
PER_CENT = 100.0
GB = 1e9
_TABLES = ("pai_job_table", "pai_task_table")
_SUFFIXES = (".csv", ".csv.gz", ".gz", "")


def recognises(start: str) -> bool:
    """Whether it is a row of the job table or of the task table: a status in fourth place."""
    fields = [field.strip() for field in start.split(",")]
    return len(fields) in {len(JOB_COLUMNS), len(TASK_COLUMNS)} and fields[3] in STATUSES


def is_folder(path: Path) -> bool:
    """Whether a folder has both tables."""
    return all(_beside(path, table) is not None for table in _TABLES)


def read(path: Path, options: Options) -> TraceRead:
    """The GPU jobs: when from the job table, how much and how long from the task table."""
    job_path, task_path = _tables(path)
    rows = _table(job_path, JOB_COLUMNS)
    tasks = _demand(_table(task_path, TASK_COLUMNS), options, rows)
    rows.frame = rows.frame.join(tasks, on="job_name", how="left", maintain_order="left")
    rows.leave_out(pl.col("tasks").is_null(), NO_TASK)
    rows.leave_out(pl.col("gpu_fraction") == 0, CPU_ONLY)
    rows.leave_out(pl.col("status") == "Waiting", NEVER_STARTED)
    rows.leave_out(pl.col("status") == "Running", RUNNING)
    rows.leave_out(pl.col("start").is_null() | pl.col("end").is_null(), NO_DURATION)
    rows.number("start_time")
    rows.keep(duration_s=pl.col("end") - pl.col("start"))
    rows.fault(pl.col("duration_s") < 0, "end_time", pl.lit("the last task ends before the first launch"))
    rows.frame = rows.frame.rename({"job_name": "job_id", "start_time": "submit"})
    rows.notes.append("the GPU kind is the one that was assigned, which may be more than the job asked for")
    return finish(rows, options, format_name="pai", origin=_origin)


def _tables(path: Path) -> tuple[Path, Path]:
    """The two files that a path stands for."""
    if not path.exists():
        raise refuse(path, "does not exist")
    folder = path if path.is_dir() else path.parent
    found = {table: path if path.name.startswith(table) else _beside(folder, table) for table in _TABLES}
    for table, place in found.items():
        if place is None:
            raise refuse(path, f"PAI needs two files, and {table}.csv is not in {folder}")
    job_path, task_path = found.values()
    assert job_path is not None  # noqa: S101  (told apart above)
    assert task_path is not None  # noqa: S101
    return job_path, task_path


def _beside(folder: Path, table: str) -> Path | None:
    """The file of a table in a folder, plain or gzipped."""
    places = (folder / f"{table}{suffix}" for suffix in _SUFFIXES)
    return next((place for place in places if place.is_file()), None)


def _table(path: Path, columns: tuple[str, ...]) -> Rows:
    """The rows of one table; the published files have no header, a copy with one is read as well."""
    lines = numbered_lines(read_text(path))
    lines = lines.filter((pl.col("line") > 1) | ~pl.col("text").str.starts_with("job_name,"))
    return split(path, lines, columns, ",")


def _demand(tasks: Rows, options: Options, jobs: Rows) -> pl.DataFrame:
    """What each job asks for in all of its tasks together, and when its GPU tasks were launched and ended."""
    for name in ("inst_num", "start_time", "end_time", "plan_cpu", "plan_mem", "plan_gpu"):
        tasks.number(name, needed=False)
    settle(tasks, options)
    jobs.notes.extend(
        f"{words.count(count, 'row')} of the task table left out: {reason}"
        for reason, count in tasks.left_out.items()
        if reason != BLANK
    )
    instances = pl.col("inst_num").fill_null(1.0)
    gpus_each = pl.col("plan_gpu").fill_null(0.0) / PER_CENT
    on_gpu = gpus_each > 0
    one_kind = pl.col("gpu_type").filter(on_gpu & (pl.col("gpu_type") != "")).unique()
    return tasks.frame.group_by("job_name").agg(
        tasks=pl.len(),
        gpu_fraction=(instances * gpus_each).sum(),
        gpus=(instances * gpus_each.ceil()).sum().cast(pl.Int64),
        cpus=(instances * pl.col("plan_cpu").fill_null(0.0) / PER_CENT).sum(),
        memory_bytes=(instances * pl.col("plan_mem").fill_null(0.0) * GB).sum(),
        gpu_kind=pl.when(one_kind.len() == 1).then(one_kind.first()),
        start=pl.col("start_time").filter(on_gpu).min(),
        end=pl.col("end_time").filter(on_gpu).max(),
    )


def _origin(zero_s: float) -> str:
    return f"the earliest submission, {zero_s:,.0f} s on the shifted clock of the trace"


FORMAT = Format(
    "Alibaba PAI 2020", "the job and task tables (a folder, or one of the two files)", recognises, read
)
