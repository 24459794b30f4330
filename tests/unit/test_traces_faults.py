"""Logs that cannot be read: each fault has a line, a field and a reason, and nothing is dropped silently."""

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import traces
from sim.errors import PlanError, TraceError
from sim.traces import _columns

HEADER = "job_id,submit_s,duration_s,gpus\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


def message_of(path: Path, format_name: str | None = None) -> str:
    with pytest.raises(TraceError) as caught:
        traces.read(path, format_name)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a,x,1,1", ':2: submit_s: "x" is not a number'),
        ("a,,1,1", ":2: submit_s: is empty; a number is needed"),
        ("a,-1,1,1", ':2: submit_s: "-1" is negative'),
        ("a,0,nan,1", ':2: duration_s: "nan" is not a finite number'),
        ("a,0,-inf,1", ':2: duration_s: "-inf" is not a finite number'),
        ("a,0,1e300,1", ':2: duration_s: "1e300" is too large'),
        ("a,0,1,0", ":2: gpus: is 0: a job needs part of a GPU at least"),
        ("a,0,1,-0.5", ':2: gpus: "-0.5" is negative'),
        ("a,0,1,0.5", ':2: gpus: "0.5" is part of a GPU; only whole GPUs can be held: fractions: round_up'),
        ("a,0,1,2.5", ':2: gpus: "2.5" is part of a GPU; only whole GPUs can be held: fractions: round_up'),
        (",0,1,1", ":2: job_id: is empty"),
        ("a,0,1", ":2: has 3 fields where 4 are expected"),
        ("a,0,1,1,1", ":2: has 5 fields where 4 are expected"),
        ("a,0,1,1\na,1,1,1", ':3: job_id: "a" is the id of line 2 already'),
    ],
)
def test_a_malformed_line_is_named_with_its_number_and_reason(log: Path, row: str, fault: str) -> None:
    log.write_text(HEADER + row + "\n")
    assert message_of(log).startswith(fault)


def test_ten_faults_are_shown_and_the_rest_counted(log: Path) -> None:
    log.write_text(HEADER + "".join(f"{i},{i},bad,1\n" for i in range(25)))
    lines = message_of(log).splitlines()
    assert len(lines) == 11
    assert lines[9].endswith(':11: duration_s: "bad" is not a number')
    assert lines[10] == "... and 15 more"


def test_a_line_is_told_once_even_if_two_fields_are_wrong(log: Path) -> None:
    log.write_text(HEADER + "a,x,y,1\n")
    with pytest.raises(TraceError) as caught:
        traces.read(log)
    assert caught.value.total == 1


def test_malformed_lines_can_be_skipped_and_are_counted(log: Path) -> None:
    log.write_text(HEADER + "a,0,1,1\n\nb,0,bad,1\nc,0,1\nd,2,1,4\n")
    read = traces.read(log, on_fault="skip")
    assert read.jobs["job_id"].to_list() == ["a", "d"]
    assert read.left_out == {"blank row": 1, "malformed line": 2}
    assert [fault.line for fault in read.faults] == [4, 5]
    assert read.rows == 5


def test_one_bad_line_in_many_is_found(log: Path) -> None:
    rows = [f"{i},{i},60,{'x' if i == 77_777 else 8}" for i in range(100_000)]
    log.write_text(HEADER + "\n".join(rows) + "\n")
    assert message_of(log) == ':77779: gpus: "x" is not a number'


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", ": is empty: it has no jobs"),
        (b"\n\n", ": is empty: it has no jobs"),
        (b"# only a comment\n", ": is empty: it has no header and no jobs"),
        (HEADER.encode(), ": has a header but no jobs"),
        (HEADER.encode() + b"\n\n", ": has a header but no jobs"),
        ((HEADER + "a,0,1,1\n").encode("utf-16"), ":1: is not UTF-8 text"),
        ((HEADER + "a,0,1,1\n").encode("utf-16-le"), ":1: is not text (it holds zero bytes)"),
        (HEADER.encode() + b"caf\xe9,0,1,1\n", ":2: is not UTF-8 text; save it as UTF-8"),
        (b"PK\x03\x04rest", ": is a spreadsheet, zip or Parquet file"),
        (gzip.compress((HEADER + "a,0,1,1\n" * 99).encode())[:60], ": is a damaged or cut gzip file"),
        (b"\x1f\x8bnot gzip at all", ": is a damaged or cut gzip file"),
    ],
)
@pytest.mark.parametrize("format_name", ["csv", None])
def test_a_file_that_is_no_log_is_refused_with_the_reason(
    log: Path, content: bytes, fault: str, format_name: str | None
) -> None:
    log.write_bytes(content)
    assert message_of(log, format_name).startswith(fault)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert message_of(tmp_path / "none.csv") == ": does not exist"
    assert message_of(tmp_path, "csv") == ": is a folder; name the file of jobs in it"


def test_a_missing_column_is_told_with_the_nearest_name(log: Path) -> None:
    log.write_text("job_id,submit_s,duration,gpus\na,0,1,1\n")
    assert message_of(log) == ':1: duration_s: column is missing; is it "duration"?'
    log.write_text("job_id,submit_s,gpus\na,0,1\n")
    assert message_of(log) == ":1: duration_s: column is missing; the file has job_id, submit_s, gpus"


def test_a_column_that_stands_twice_is_refused(log: Path) -> None:
    log.write_text("job_id,submit_s,duration_s,gpus,gpus\na,0,1,1,1\n")
    assert ":1: gpus: column appears twice" in message_of(log)


def test_columns_that_are_not_used_are_told(log: Path) -> None:
    log.write_text("job_id,submit_s,duration_s,gpus,line,colour\na,0,1,1,7,red\n")
    assert traces.read(log).notes == ("columns not used: line, colour",)


def test_an_unknown_start_lists_the_formats(log: Path) -> None:
    log.write_text("when,what\n1,2\n")
    message = message_of(log)
    assert "is of no known format" in message
    assert all(f"  {name}: " in message for name in traces.FORMATS)


def test_a_start_of_several_formats_lists_them(log: Path) -> None:
    log.write_text("job_id,vc,gpu_num,type,state\n")
    assert "could be helios or acme" in message_of(log)


def test_an_unknown_format_name_is_refused(log: Path) -> None:
    with pytest.raises(PlanError, match='"xml" is not a trace format; choose csv, philly'):
        traces.read(log, "xml")


def test_a_log_without_gpu_jobs_says_why_none_is_left(log: Path) -> None:
    log.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-03 00:00:10,20.0,0,0,v\n")
    assert message_of(log) == ": no job is left of 1 row: CPU-only: asks for no GPU (1)"


@pytest.mark.parametrize("bad", ["", "yesterday", "2017-02-30 00:00:00", "2017-10-03"])
def test_a_time_that_is_none_is_a_fault(log: Path, bad: str) -> None:
    log.write_text(f"timestamp,duration,num_gpus,gpu_time,cluster\n{bad},20.0,1,0,v\n")
    assert message_of(log).startswith(":2: timestamp: ")


def test_times_with_a_zone_are_put_on_one_clock(log: Path) -> None:
    rows = [
        "2017-10-03T02:00:00+02:00,1,1,1,a",
        "2017-10-03T00:00:00.5Z,1,1,1,b",
        "2017-10-02 20:00:01-0400,1,1,1,c",
    ]
    log.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n" + "\n".join(rows))
    assert traces.read(log).jobs["submit_s"].to_list() == [0.0, 0.5, 1.0]


def test_times_of_which_only_some_have_a_zone_are_noted(log: Path) -> None:
    rows = ["2017-10-03T02:00:00+02:00,1,1,1,a", "2017-10-03T00:00:01,1,1,1,b"]
    log.write_text("timestamp,duration,num_gpus,gpu_time,cluster\n" + "\n".join(rows))
    assert any("without a time zone, others have one" in note for note in traces.read(log).notes)


def test_unix_times_in_the_own_csv_start_at_zero(log: Path) -> None:
    log.write_text(HEADER + "a,1700000000,1,1\nb,1700000005,1,1\n")
    read = traces.read(log)
    assert read.jobs["submit_s"].to_list() == [0.0, 5.0]
    assert read.origin == "the earliest submission, Unix time 1700000000"


def test_the_own_csv_keeps_its_clock(log: Path) -> None:
    log.write_text(HEADER + "a,100,1,1\nb,105,1,1\n")
    assert traces.read(log).jobs["submit_s"].to_list() == [100.0, 105.0]


def test_parts_of_a_gpu_in_the_own_csv_are_rounded_up_when_asked_for(log: Path) -> None:
    log.write_text(HEADER + "a,0,3600,0.5\nb,0,3600,2\n")
    read = traces.read(log, fractions="round_up")
    assert read.jobs.select("gpus", "gpu_fraction").rows() == [(1, 0.5), (2, 2.0)]
    assert read.notes == (
        "1 job asks for part of a GPU and was rounded up to whole ones: 0.5 GPU h became 1 GPU h",
    )
    log.write_text(HEADER + "a,0,3600,0\n")
    with pytest.raises(TraceError, match="a job needs part of a GPU at least"):
        traces.read(log, fractions="round_up")


def test_ids_that_repeat_in_a_public_log_are_told_apart(log: Path) -> None:
    header = "job_id,user,tenant,class,submit_time,num_chips,chip_type,num_nodes,duration_s\n"
    log.write_text(header + "7,u,t,c,0,1,,1,5\n7,u,t,c,1,1,,1,5\n")
    read = traces.read(log)
    assert read.jobs["job_id"].to_list() == ["7", "7#2"]
    assert any("repeats the id of another" in note for note in read.notes)


def test_windows_line_ends_a_byte_order_mark_and_quotes_are_read(log: Path) -> None:
    log.write_bytes(b'\xef\xbb\xbf"job_id",submit_s,duration_s,gpus\r\n"a,b",0,1,1\r\nc,1,1,2\r\n')
    assert traces.read(log).jobs["job_id"].to_list() == ["a,b", "c"]


def test_a_gzipped_log_is_read_whatever_it_is_called(log: Path) -> None:
    log.write_bytes(gzip.compress((HEADER + "a,0,1,1\n").encode()))
    assert traces.read(log).jobs.height == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [("[{]", ":1: is not JSON"), ("[]", ": is not a list of jobs"), ("[1]", ": is not a list of jobs")],
)
def test_a_philly_log_that_is_no_list_of_jobs_is_refused(log: Path, text: str, fault: str) -> None:
    log.write_text(text)
    assert message_of(log).startswith(fault)


def test_a_header_in_the_pai_tables_is_not_a_job(tmp_path: Path) -> None:
    (tmp_path / "pai_job_table.csv").write_text(
        "job_name,inst_id,user,status,start_time,end_time\nj,i,u,Failed,5.0,9.0\n"
    )
    (tmp_path / "pai_task_table.csv").write_text("j,t,1.0,Failed,6.0,9.0,100.0,1.0,100.0,T4\n")
    assert traces.read(tmp_path).jobs.select("duration_s", "gpus").rows() == [(3.0, 1)]


def test_malformed_rows_of_the_pai_task_table_are_told(tmp_path: Path) -> None:
    (tmp_path / "pai_job_table.csv").write_text("j,i,u,Failed,5.0,9.0\n")
    (tmp_path / "pai_task_table.csv").write_text(
        "j,t,1.0,Failed,6.0,9.0,100.0,1.0,100.0,T4\nj,t,x,Failed,6.0,9.0,100.0,1.0,100.0,T4\n"
    )
    with pytest.raises(TraceError, match=r'pai_task_table.csv:2: inst_num: "x" is not a number'):
        traces.read(tmp_path)
    read = traces.read(tmp_path, on_fault="skip")
    assert "1 row of the task table left out: malformed line" in read.notes


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.one_of(st.integers(0, 50), st.just("x")), st.integers(0, 3)),
        min_size=1,
        max_size=20,
    )
)
def test_no_row_is_lost_or_counted_twice(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    log = tmp_path_factory.mktemp("rows") / "log.csv"
    body = "".join(
        f"{place},{submit},{duration},{gpus}\n" for place, (submit, duration, gpus) in enumerate(rows)
    )
    log.write_text(HEADER + body)
    good = [place for place, (_, duration, gpus) in enumerate(rows) if duration != "x" and gpus]
    if not good:
        with pytest.raises(TraceError, match="no job is left"):
            traces.read(log, on_fault="skip")
        return
    read = traces.read(log, on_fault="skip")
    assert sorted(read.jobs["job_id"].cast(pl.Int64)) == good
    assert read.left_out.get(_columns.MALFORMED, 0) == len(rows) - len(good)
