"""Replay of a log: what is cut off is counted, and the rest is as it was."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sim.errors import TraceError
from sim.workloads import TraceWorkload, WorkloadJobs, generate

LOG = """job_id,submit_s,duration_s,gpus,tenant
a,0,60,1,red
b,100,60,8,red
c,200,60,2,blue
d,300,60,2,blue
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG, encoding="utf-8")
    return tmp_path / "log.csv"


def replay(path: Path, horizon_s: float | None = None, **options: Any) -> WorkloadJobs:
    return TraceWorkload(path=Path(path.name), **options).jobs(0, horizon_s, path.parent)


def test_a_log_is_replayed_as_it_was(path: Path) -> None:
    made = replay(path)
    assert made.jobs["job_id"].to_list() == ["a", "b", "c", "d"]
    assert made.jobs["submit_s"].to_list() == [0.0, 100.0, 200.0, 300.0]
    assert made.jobs["tenant"].to_list() == ["red", "red", "blue", "blue"]
    assert made.left_out == {}
    assert made.notes[0].startswith("Jobs replayed from log.csv (csv); in the log, time 0 is ")


def test_a_window_starts_at_time_0_and_what_is_outside_is_counted(path: Path) -> None:
    made = replay(path, start=100.0, until=300.0)
    assert made.jobs["job_id"].to_list() == ["b", "c"]
    assert made.jobs["submit_s"].to_list() == [0.0, 100.0]
    assert made.left_out["submitted before the start of the window"] == 1
    assert made.left_out["submitted after the end of the window"] == 1
    assert "The replay starts 1 min 40 s into the log." in made.notes


def test_the_first_jobs_can_be_taken_and_the_rest_is_counted(path: Path) -> None:
    made = replay(path, limit=3)
    assert made.jobs["job_id"].to_list() == ["a", "b", "c"]
    assert made.left_out["after the first 3 jobs"] == 1


def test_a_load_factor_brings_the_jobs_closer_together(path: Path) -> None:
    made = replay(path, start=100.0, load_factor=2.0)
    assert made.jobs["submit_s"].to_list() == [0.0, 50.0, 100.0]
    assert "Times between submissions are divided by 2." in made.notes


def test_nothing_is_submitted_at_or_after_the_horizon(path: Path) -> None:
    made = replay(path, horizon_s=200.0)
    assert made.jobs["job_id"].to_list() == ["a", "b"]
    assert made.left_out["submitted at or after the horizon"] == 2


def test_every_row_is_replayed_or_left_out(path: Path) -> None:
    made = replay(path, horizon_s=120.0, start=100.0, limit=2)
    assert made.jobs.height + sum(made.left_out.values()) == 4


def test_all_jobs_can_be_given_to_one_tenant(path: Path) -> None:
    assert set(replay(path, tenant="green").jobs["tenant"]) == {"green"}


def test_two_logs_are_replayed_together_and_their_omissions_add_up(path: Path) -> None:
    logs = [TraceWorkload(path=path, name=name) for name in ("one", "two")]
    made = generate(logs, 0, 150.0, Path())
    assert made.jobs["job_id"].to_list() == ["one/a", "two/a", "one/b", "two/b"]
    assert made.left_out == {"submitted at or after the horizon": 4}
    assert len([note for note in made.notes if note.startswith("Jobs replayed")]) == 2


def test_malformed_lines_are_refused_or_skipped_and_counted(path: Path) -> None:
    path.write_text(LOG + "e,400,60,0,blue\n", encoding="utf-8")
    with pytest.raises(TraceError, match=r"log\.csv:6: gpus"):
        replay(path)
    skipped = replay(path, on_fault="skip")
    assert skipped.jobs.height == 4
    assert sum(skipped.left_out.values()) == 1


def test_a_missing_log_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"missing\.csv"):
        replay(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "phily"}, 'is not a trace format; did you mean "philly"?'),
        ({"format": "excel"}, '"excel" is not a trace format; choose csv, philly'),
        ({"start": 60.0, "until": 60.0}, "until must be later than start"),
        ({"load_factor": 0}, "greater than 0"),
        ({"limit": 0}, "greater than or equal to 1"),
    ],
)
def test_a_replay_that_cannot_be_is_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        TraceWorkload(path=Path("log.csv"), **options)


def test_messages_name_the_log_as_the_user_would(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way from the scenario's folder up and down again is nobody's name for a file."""
    folder = path.parent / "scenarios"
    folder.mkdir()
    (path.parent / "elsewhere").mkdir()
    monkeypatch.chdir(path.parent)
    beside = TraceWorkload(path=Path("../log.csv"))
    assert beside.file(Path("scenarios")) == Path("log.csv")
    assert beside.jobs(0, None, folder).notes[0].startswith("Jobs replayed from log.csv (csv)")
    assert TraceWorkload(path=Path("jobs/log.csv")).file(Path("scenarios")) == Path("scenarios/jobs/log.csv")
    missing = re.escape("gone.csv: does not exist")
    with pytest.raises(TraceError, match=rf"^{missing}$"):
        TraceWorkload(path=Path("../gone.csv")).read(folder)
