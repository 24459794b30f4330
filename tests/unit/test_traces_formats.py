"""Known answers of every log format, on small logs written for these tests."""

from pathlib import Path

import polars as pl
import pytest

from sim import traces
from sim.errors import TraceError
from sim.traces import _columns

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "traces"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "traces"
ALL = ["own.csv", "philly.csv", "philly_log.json", "helios.csv", "helios_slice.csv", "seren.csv", "kalos.csv"]
ALL += ["pai", "log.swf", "sacct.txt"]

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the public traces are not beside the checkout")


def sample(name: str) -> traces.TraceRead:
    gpus_each = 1.0 if name.endswith(".swf") else None
    return traces.read(SAMPLES / name, fractions="round_up", gpus_per_processor=gpus_each)


def columns(read: traces.TraceRead, *names: str) -> list[tuple[object, ...]]:
    return read.jobs.select(names).rows()


@pytest.mark.parametrize("name", ALL)
def test_every_row_is_a_job_or_left_out_for_a_reason(name: str) -> None:
    read = sample(name)
    assert read.rows == read.jobs.height + sum(read.left_out.values())
    assert read.recorded.height == read.jobs.height
    assert read.jobs["submit_s"].is_sorted()


@pytest.mark.parametrize("name", ALL)
def test_every_format_is_known_by_its_first_line(name: str) -> None:
    expected = {
        "own.csv": "csv",
        "philly_log.json": "philly",
        "helios_slice.csv": "helios",
        "log.swf": "swf",
        "sacct.txt": "slurm",
        "seren.csv": "acme",
        "kalos.csv": "acme",
    }
    assert traces.guess(SAMPLES / name) == expected.get(name, name.removesuffix(".csv"))


def test_own_csv_keeps_its_clock_its_optional_columns_and_its_order_of_ties() -> None:
    read = sample("own.csv")
    assert columns(read, "job_id", "submit_s", "duration_s", "gpus", "tenant", "priority") == [
        ("a", 0.0, 100.0, 8, "vision", 2),
        ("d, quoted", 2.0, 10.0, 4, "vision", 0),
        ("b", 5.0, 0.0, 1, "default", 0),
        ("c", 5.0, 30.5, 16, "speech", -1),
    ]
    assert columns(read, "gpu_kind", "nodes", "estimate_s", "cpus", "memory_bytes")[0] == (
        "a100",
        1,
        120.0,
        64.0,
        512 * 2**30,
    )
    assert read.recorded["line"].to_list() == [3, 6, 4, 5]
    assert read.notes == (
        "1 of 4 jobs stands below one submitted later: sorted by submission, file order breaks ties",
    )


def test_philly_digest_sorts_by_wall_time_and_takes_the_cluster_as_tenant() -> None:
    read = sample("philly.csv")
    assert columns(read, "job_id", "submit_s", "duration_s", "gpus", "tenant") == [
        ("2", 0.0, 60.0, 1, "vc2"),
        ("1", 20.0, 20.0, 8, "vc1"),
        ("3", 20.0, 5.0, 2, "vc1"),
    ]
    assert read.left_out == {"blank row": 1}
    assert read.origin == "the earliest submission, 2017-10-02 23:59:50 on the clock of the log"


def test_a_philly_job_lasts_as_long_as_its_attempts_on_the_gpus_of_the_last() -> None:
    read = sample("philly_log.json")
    assert columns(read, "job_id", "duration_s", "gpus", "nodes", "tenant") == [
        ("app_1", 60.0 + 90.0, 3, 2, "vc1")
    ]
    assert read.recorded.row(0) == (1, 60.0, 390.0, "Pass")
    assert sorted(read.left_out.values()) == [1, 1, 1, 1]


def test_helios_leaves_cpu_jobs_out_and_keeps_what_happened() -> None:
    read = sample("helios.csv")
    assert columns(read, "job_id", "submit_s", "gpus", "nodes", "cpus", "tenant") == [
        ("13", 0.0, 16, 2, 96.0, "vcY"),
        ("11", 60.0, 8, 1, 64.0, "vcX"),
    ]
    assert read.recorded.row(1) == (2, 90.0, 690.0, "COMPLETED")
    assert read.left_out == {_columns.CPU_ONLY: 1}


def test_the_helios_slice_counts_microseconds() -> None:
    read = sample("helios_slice.csv")
    assert columns(read, "submit_s", "duration_s", "estimate_s", "gpu_kind") == [
        (0.0, 40.0, 60.0, None),
        (0.5, 10.0, 10.0, "v100"),
    ]


def test_seren_leaves_out_cpu_jobs_and_jobs_that_never_started() -> None:
    read = sample("seren.csv")
    assert columns(read, "job_id", "duration_s", "gpus", "kind") == [("1", 60.0, 8, "Evaluation")]
    assert read.left_out == {_columns.CPU_ONLY: 1, _columns.NEVER_STARTED: 1}
    assert read.origin == "the earliest submission, 2023-03-01 00:00:00 UTC"


def test_kalos_counts_the_queue_in_its_duration_so_end_minus_start_is_used() -> None:
    read = sample("kalos.csv")
    assert columns(read, "submit_s", "duration_s", "memory_bytes") == [(0.0, 40.0, 1e12), (5.0, 30.0, 5e11)]
    assert any("not end - start" in note for note in read.notes)


def test_pai_joins_its_tables_and_rounds_each_instance_up() -> None:
    read = sample("pai")
    assert columns(read, "job_id", "submit_s", "duration_s", "gpus", "gpu_fraction", "gpu_kind") == [
        ("j2", 0.0, 95.0, 4, 4.0, "V100"),
        ("j1", 100.0, 170.0, 3, 1.5, "T4"),
    ]
    assert columns(read, "cpus", "memory_bytes")[1] == (6.0 + 3 * 4.0, 10e9 + 3 * 20e9)
    assert any("1 job asks for part of a GPU" in note for note in read.notes)


@pytest.mark.parametrize("name", ["pai_job_table.csv", "pai_task_table.csv"])
def test_either_file_of_pai_stands_for_both(name: str) -> None:
    read = traces.read(SAMPLES / "pai" / name, fractions="round_up")
    assert read.jobs.equals(sample("pai").jobs)


def test_fractions_of_a_gpu_are_refused_with_what_to_ask_for() -> None:
    with pytest.raises(
        TraceError, match=r"1 of 2 jobs asks for part of a GPU \(job j1: 1.5\).*fractions: round_up"
    ):
        traces.read(SAMPLES / "pai")


def test_pai_needs_both_tables(tmp_path: Path) -> None:
    (tmp_path / "pai_job_table.csv").write_text((SAMPLES / "pai" / "pai_job_table.csv").read_text())
    with pytest.raises(TraceError, match=r"pai_task_table\.csv is not in"):
        traces.read(tmp_path / "pai_job_table.csv")
    with pytest.raises(TraceError, match="folder without the PAI"):
        traces.read(tmp_path)
    with pytest.raises(TraceError, match="does not exist"):
        traces.read(tmp_path / "none", "pai")


def test_swf_turns_processors_into_gpus_and_tells_what_is_unknown() -> None:
    read = sample("log.swf")
    assert columns(read, "job_id", "submit_s", "duration_s", "gpus", "tenant", "estimate_s") == [
        ("1", 0.0, 100.0, 16, "group 2", 120.0),
        ("3", 60.0, 30.0, 8, "default", None),
    ]
    assert read.recorded.row(0) == (4, 10.0, 110.0, "1")
    assert sum(read.left_out.values()) == 3
    assert "Unix time 1000000000" in read.origin


def test_swf_needs_gpus_per_processor() -> None:
    with pytest.raises(TraceError, match="SWF counts processors, not GPUs"):
        traces.read(SAMPLES / "log.swf")


def test_swf_counts_a_job_that_was_swapped_out_once(tmp_path: Path) -> None:
    """By its definition such a job has a line as a whole and one for each part; only the first has a time."""
    log = tmp_path / "swapped.swf"
    rest = "-1 -1 4 900 -1 {} 1 1 -1 1 -1 -1 -1"
    rows = [
        "1 5 10 300.5 4 " + rest.format(1),
        "1 5 10 100 4 " + rest.format(2),
        "1 -1 60 200.5 4 " + rest.format(3),
    ]
    log.write_text("\n".join([*rows, "2 -1 0 9 4 " + rest.format(1), "3 7 0 9 4 " + rest.format(0)]) + "\n")
    read = traces.read(log, gpus_per_processor=1)
    assert columns(read, "job_id", "submit_s", "duration_s", "gpus") == [("1", 0, 300.5, 4), ("3", 2, 9, 4)]
    assert read.left_out == {
        "part of a job that is also there as a whole": 2,
        "submission time not known": 1,
    }


def test_swf_with_more_columns_is_read_and_noted(tmp_path: Path) -> None:
    log = tmp_path / "wide.swf"
    log.write_text("1 0 10 100 16 -1 -1 16 120 -1 1 3 2 -1 1 -1 -1 -1 7 7 7\n")
    read = traces.read(log, gpus_per_processor=0.125)
    assert read.jobs["gpus"].to_list() == [2]
    assert "1 line has more than the 18 columns of SWF: the others were not read" in read.notes


def test_slurm_counts_gpus_once_and_tells_jobs_from_steps() -> None:
    read = sample("sacct.txt")
    assert columns(read, "job_id", "submit_s", "duration_s", "gpus", "gpu_kind", "nodes", "tenant") == [
        ("101", 0.0, 600.0, 4, "h100", 2, "speech"),
        ("100", 60.0, 3600.0, 8, "a100", 1, "vision"),
        ("106", 300.0, 1800.0, 4, None, 1, "vision"),
    ]
    assert columns(read, "estimate_s", "cpus", "memory_bytes") == [
        (None, 16.0, 64 * 2**30),
        (7200.0, 64.0, 512000 * 2**20),
        (3600.0, 16.0, 64 * 2**30),
    ]
    assert sum(read.left_out.values()) == 7
    assert read.left_out["step of a job, not a job"] == 2
    assert read.recorded["status"].to_list() == ["CANCELLED", "COMPLETED", "COMPLETED"]


def test_slurm_reads_written_times_arrays_and_parsable_output(tmp_path: Path) -> None:
    """As of `sacct --parsable` with JobID, Elapsed and Timelimit: every line ends with a bar."""
    log = tmp_path / "sacct.txt"
    at = "2024-05-01T10:00:00"
    tres = "billing=16,cpu=8,gres/gpu:a100=4,gres/gpu=4,mem=64G,node=1"
    log.write_text(
        "JobID|Submit|Start|End|Elapsed|Timelimit|State|ReqTRES|AllocTRES|\n"
        f"12_3|{at}|{at}|2024-05-02T12:03:04|1-02:03:04|2-00:00:00|COMPLETED|{tres}|{tres}|\n"
        f"12_3.batch|{at}|{at}|2024-05-02T12:03:04|1-02:03:04||COMPLETED||{tres}|\n"
        f"12_4|{at}|{at}|2024-05-01T10:02:03|02:03|UNLIMITED|OUT_OF_MEMORY|{tres}|{tres}|\n"
        f"12_5|{at}|{at}|2024-05-01T11:00:00|01:00:00|Partition_Limit|CANCELLED by 1001|{tres}|{tres}|\n"
        f"12_[6-10]|{at}|Unknown|Unknown|00:00:00|01:00:00|PENDING|{tres}||\n"
        f"13|{at}|Unknown|{at}|00:00:00|01:00:00|CANCELLED by 1001|{tres}||\n"
        f"14|{at}|{at}|Unknown|00:05:00|01:00:00|RUNNING|{tres}|{tres}|\n"
    )
    read = traces.read(log)
    assert columns(read, "job_id", "duration_s", "estimate_s", "gpus", "gpu_kind") == [
        ("12_3", 93_784.0, 172_800.0, 4, "a100"),
        ("12_4", 123.0, None, 4, "a100"),
        ("12_5", 3600.0, None, 4, "a100"),
    ]
    assert sum(read.left_out.values()) == 4
    assert not any("columns not used" in note for note in read.notes)
    log.write_text(log.read_text().replace("02:03|", "two minutes|"))
    with pytest.raises(TraceError, match=':4: elapsed: "two minutes" is not a time such as 1-02:03:04'):
        traces.read(log)


def test_helios_without_a_state_is_read_and_who_never_started_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "cluster_log.csv"
    log.write_text(
        "job_id,vc,gpu_num,submit_time,start_time,duration\n"
        "1,a,8,2020-04-01 00:00:00,2020-04-01 00:01:00,60\n2,a,8,2020-04-01 00:00:00,None,0\n"
    )
    read = traces.read(log)
    assert columns(read, "job_id", "duration_s") == [("1", 60.0)]
    assert read.left_out == {_columns.NEVER_STARTED: 1}


def test_slurm_without_gpu_columns_says_which_to_add(tmp_path: Path) -> None:
    log = tmp_path / "sacct.txt"
    log.write_text("JobIDRaw|Submit|ElapsedRaw|State\n1|2024-05-01T10:00:00|5|COMPLETED\n")
    with pytest.raises(TraceError, match="AllocTRES"):
        traces.read(log)


def test_slurm_without_start_and_end_takes_the_elapsed_time(tmp_path: Path) -> None:
    log = tmp_path / "sacct.txt"
    log.write_text(
        "JobID|Submit|ElapsedRaw|State|AllocTRES|NNodes\n"
        "1|2024-05-01T10:00:00|5|COMPLETED|gres/gpu:a=1,gres/gpu:b=2,node=1|1\n"
        "2|2024-05-01T10:00:00|0|FAILED|gres/gpu=1,node=1|1\n"
    )
    read = traces.read(log)
    assert columns(read, "gpus", "gpu_kind", "nodes", "duration_s") == [(3, None, 1, 5.0)]
    assert read.left_out == {_columns.NEVER_STARTED: 1}


@needs_shared
def test_the_philly_digest_has_82247_jobs_and_978078_gpu_hours() -> None:
    read = traces.read(SHARED / "philly" / "philly_jobs.csv.gz")
    gpu_hours = float((read.jobs["gpus"] * read.jobs["duration_s"]).sum()) / 3600
    assert (read.rows, read.jobs.height, dict(read.left_out)) == (82_248, 82_247, {"blank row": 1})
    assert round(gpu_hours) == 978_078
    assert round(float(pl.Series(read.jobs["duration_s"]).mean())) == 13_136  # type: ignore[arg-type]
    assert read.origin.startswith("the earliest submission, 2017-09-04 10:30:41")


@needs_shared
def test_the_helios_slice_has_1867_jobs_of_two_virtual_clusters() -> None:
    read = traces.read(SHARED / "helios_venus_slice" / "helios_venus_2vc_sept.csv.gz")
    assert read.jobs.height == read.rows == 1_867
    assert sorted(read.jobs["tenant"].unique()) == ["vcvGl", "vcvlY"]
    assert read.jobs["gpus"].max() == 144


def test_an_acme_log_with_the_needed_columns_only_is_read(tmp_path: Path) -> None:
    log = tmp_path / "seren.csv"
    log.write_text(
        "job_id,gpu_num,type,state,submit_time,duration\n1,8,SFT,COMPLETED,2023-03-01 00:00:00+08:00,60\n"
    )
    assert columns(traces.read(log), "duration_s", "nodes", "cpus") == [(60.0, None, None)]


def test_a_helios_log_with_the_needed_columns_only_is_read(tmp_path: Path) -> None:
    log = tmp_path / "cluster_log.csv"
    log.write_text("job_id,vc,gpu_num,state,submit_time,duration\n1,v,8,COMPLETED,2020-04-02 08:00:00,60\n")
    assert columns(traces.read(log), "duration_s", "nodes", "tenant") == [(60.0, None, "v")]


def test_a_helios_slice_with_the_needed_columns_only_is_read(tmp_path: Path) -> None:
    log = tmp_path / "slice.csv"
    log.write_text("job_id,tenant,submit_time,num_chips,duration_s\n1,v,0,8,60\n")
    assert columns(traces.read(log), "duration_s", "estimate_s", "tenant") == [(60.0, None, "v")]
