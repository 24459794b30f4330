"""The run folder: the same bytes, all or nothing, never somebody else's files, and read back as it was."""

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest

from sim import run_folder
from sim.errors import RunFolderError
from sim.results import combine
from tests.unit.hand_made_runs import eventful, plain

FILES = {
    "arrivals.parquet", "jobs.csv", "jobs.parquet", "manifest.json", "nodes.parquet", "placements.parquet",
    "runs.parquet", "scenario.yaml", "summary.json", "timeline.parquet", "waits.parquet",
}  # fmt: skip


class Failing(Mapping[str, str | bytes]):
    """Further files that cannot be had: asking for them raises, when the rest of the folder is already
    written."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, name: str) -> str:
        raise self.error

    def __iter__(self) -> Iterator[str]:
        raise self.error

    def __len__(self) -> int:
        return 1


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A folder of somebody whom permissions bind, as they do not bind root."""
    nobody = 65534
    with TemporaryDirectory() as name:
        folder = Path(name, "mine")
        Path(name).chmod(0o755)
        folder.mkdir()
        if os.geteuid() != 0:
            yield folder
            folder.chmod(0o755)
            return
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
        try:
            yield folder
        finally:
            os.seteuid(0)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# what is written


def test_a_run_folder_has_its_files_and_the_extra_ones(tmp_path: Path) -> None:
    run_folder.write(eventful(), tmp_path / "run", extra={"report.html": "<p>é</p>", "logo.png": b"\x89"})
    assert set(contents(tmp_path / "run")) == FILES | {"report.html", "logo.png"}
    assert (tmp_path / "run" / "report.html").read_bytes() == "<p>é</p>".encode()
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_the_same_run_has_the_same_bytes(tmp_path: Path) -> None:
    run_folder.write(eventful(), tmp_path / "one")
    run_folder.write(eventful(), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_process_with_another_hash_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """Nothing depends on the order of a set, or on how many threads there are."""
    script = (
        "import sys; from pathlib import Path; from sim import run_folder; "
        "from tests.unit.hand_made_runs import eventful; run_folder.write(eventful(), Path(sys.argv[1]))"
    )
    for name, seed, threads in (("one", "1", "1"), ("two", "2", "4")):
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", script, str(tmp_path / name)],
            env=os.environ | {"PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": threads},
            cwd=Path(__file__).resolve().parents[2],
            check=True,
        )
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_manifest_says_what_made_the_run_and_holds_every_hash(tmp_path: Path) -> None:
    run_folder.write(eventful(seed=11), tmp_path / "run")
    files = contents(tmp_path / "run")
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert manifest["dcplan"] == "0.1.0"
    assert set(manifest["versions"]) == {"python", "numpy", "polars", "simpy"}
    assert manifest["seeds"] == [11]
    assert manifest["scenario_sha256"] == manifest["files"]["scenario.yaml"]


def test_runs_that_met_the_same_arrivals_say_so(tmp_path: Path) -> None:
    hashes = []
    for name, results in (("one", plain()), ("two", plain(seed=3, warm_up="5 s")), ("three", eventful())):
        run_folder.write(results, tmp_path / name)
        hashes.append(json.loads((tmp_path / name / "manifest.json").read_text())["arrivals_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_csv_of_jobs_is_plain(tmp_path: Path) -> None:
    run_folder.write(eventful(), tmp_path / "run")
    lines = (tmp_path / "run" / "jobs.csv").read_text().splitlines()
    assert lines[0].startswith(
        "job_id,tenant,kind,gpus,submit_s,start_s,end_s,wait_s,run_s,preemptions,restarts,nodes,status,"
    )
    assert lines[3].startswith("wide,bob,training,8,50.0,135.0,,85.0,65.0,0,0,n0 n1,running,")
    assert len(lines) == 7


def test_numbers_read_back_as_they_were(tmp_path: Path) -> None:
    run_folder.write(eventful(), tmp_path / "run")
    jobs = pl.read_csv(tmp_path / "run" / "jobs.csv", infer_schema_length=None)
    assert jobs["wait_capacity_s"].to_list() == eventful().tables["jobs"]["wait_capacity_s"].to_list()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["metrics"] == eventful().summary["metrics"]


# reading


def test_a_run_reads_back_as_it_was(tmp_path: Path) -> None:
    written = eventful(warm_up="50 s", objectives=[{"metric": "wait_p95_s", "at_most": "1 min"}])
    run_folder.write(written, tmp_path / "run")
    found = run_folder.read(tmp_path / "run")
    assert found.scenario == written.scenario
    assert found.seeds == written.seeds
    assert found.notes == written.notes
    assert {
        name: table.equals(found.tables[name]) for name, table in written.tables.items()
    } == dict.fromkeys(written.tables, True)
    assert found.arrivals.jobs.equals(written.arrivals.jobs)
    assert (found.arrivals.left_out, found.arrivals.notes) == ({"needs no GPU": 1}, ("From a hand.",))
    assert found.metric("wait_mean_s") == written.metric("wait_mean_s")
    assert not found.objectives_met


def test_a_run_that_was_read_is_written_with_the_same_bytes(tmp_path: Path) -> None:
    run_folder.write(eventful(), tmp_path / "one")
    run_folder.write(run_folder.read(tmp_path / "one"), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_replications_read_back_with_their_table(tmp_path: Path) -> None:
    written = combine([plain(), plain(), plain()])
    run_folder.write(written, tmp_path / "run")
    found = run_folder.read(tmp_path / "run")
    assert found.tables["replications"].equals(written.tables["replications"])
    assert found.seeds == (0, 0, 0)


def no_folder(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def remanifest(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | changes))

    return change


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (no_folder, "there is no folder .*run"),
    "no manifest": (
        lambda run: (run / "manifest.json").unlink(),
        "is not a run folder: it has no manifest.json",
    ),
    "manifest cut off": (
        lambda run: (run / "manifest.json").write_text('{"dcplan"'),
        "manifest.json cannot be read",
    ),
    "manifest of another tool": (
        lambda run: (run / "manifest.json").write_text('{"name": "app"}'),
        "its manifest.json is not dcplan's",
    ),
    "manifest is a list": (lambda run: (run / "manifest.json").write_text("[]"), "is not dcplan's"),
    "manifest in bytes": (lambda run: (run / "manifest.json").write_bytes(b"\xff\xfe\xff"), "cannot be read"),
    "manifest without files": (
        lambda run: (run / "manifest.json").write_text('{"dcplan": "0.1.0", "format": 2}'),
        "manifest.json is damaged",
    ),
    "layout of before": (
        remanifest(format=1),
        "written by dcplan 0.1.0 in layout 1; this is dcplan 0.1.0, which reads layout 2",
    ),
    "layout of the future": (
        remanifest(format=99, dcplan="7.0"),
        r"written by dcplan 7.0 in layout 99; this is dcplan 0.1.0, which reads layout 2",
    ),
    "table missing": (
        lambda run: (run / "waits.parquet").unlink(),
        "waits.parquet cannot be read: No such file",
    ),
    "table cut off": (
        lambda run: (run / "jobs.parquet").write_bytes((run / "jobs.parquet").read_bytes()[:99]),
        "jobs.parquet is damaged or was changed",
    ),
    "scenario changed": (
        lambda run: (run / "scenario.yaml").write_text("name: other"),
        "scenario.yaml is damaged or was changed",
    ),
    "summary changed": (lambda run: (run / "summary.json").write_text("{}"), "summary.json is damaged"),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_or_foreign_folder_is_told_as_such(
    tmp_path: Path, damage: Callable[[Path], object], told: str
) -> None:
    run_folder.write(eventful(), tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(RunFolderError, match=told):
        run_folder.read(tmp_path / "run")


def test_a_file_is_not_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no")
    with pytest.raises(RunFolderError, match="is not a folder"):
        run_folder.read(tmp_path / "run")


def test_a_scenario_that_this_version_refuses_is_told_with_its_faults(tmp_path: Path) -> None:
    run_folder.write(eventful(), tmp_path / "run")
    content = b"name: other\n"
    (tmp_path / "run" / "scenario.yaml").write_bytes(content)
    files = json.loads((tmp_path / "run" / "manifest.json").read_text())["files"]
    remanifest(files=files | {"scenario.yaml": hashlib.sha256(content).hexdigest()})(tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"its scenario cannot be read:\n.*scenario.yaml:1: fleet"):
        run_folder.read(tmp_path / "run")


def test_changes_to_what_people_read_do_no_harm(tmp_path: Path) -> None:
    run_folder.write(eventful(), tmp_path / "run", extra={"report.html": "<p>"})
    (tmp_path / "run" / "report.html").write_text("<p>with a remark")
    (tmp_path / "run" / "jobs.csv").unlink()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert run_folder.read(tmp_path / "run").metric("jobs") == 6.0


# what is replaced, and what never is


def test_an_earlier_run_is_replaced_with_force_only(tmp_path: Path) -> None:
    run_folder.write(plain(), tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"holds an earlier run; .* --force"):
        run_folder.write(eventful(), tmp_path / "run")
    assert contents(tmp_path / "run") == before
    run_folder.write(eventful(), tmp_path / "run", force=True)
    assert run_folder.read(tmp_path / "run").metric("jobs") == 6.0
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_a_run_of_another_layout_can_be_replaced(tmp_path: Path) -> None:
    run_folder.write(plain(), tmp_path / "run")
    remanifest(format=0)(tmp_path / "run")
    run_folder.write(eventful(), tmp_path / "run", force=True)
    assert run_folder.read(tmp_path / "run").metric("jobs") == 6.0


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("file", ["thesis.txt", "manifest.json"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, file: str, force: bool) -> None:  # noqa: FBT001
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / file).write_text('{"my": "own"}')
    with pytest.raises(RunFolderError, match="is not a run folder; it is left alone"):
        run_folder.write(plain(), tmp_path / "run", force=force)
    assert contents(tmp_path / "run") == {file: b'{"my": "own"}'}


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunFolderError, match="is a file"):
        run_folder.write(plain(), tmp_path / "run", force=True)
    assert (tmp_path / "run").read_text() == "mine"


def test_an_empty_folder_and_missing_parents_will_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run_folder.write(plain(), tmp_path / "empty")
    run_folder.write(plain(), tmp_path / "a" / "b" / "run")
    assert contents(tmp_path / "empty") == contents(tmp_path / "a" / "b" / "run")


def test_a_link_to_a_run_stays_a_link(tmp_path: Path) -> None:
    run_folder.write(plain(), tmp_path / "run")
    (tmp_path / "latest").symlink_to("run")
    run_folder.write(eventful(), tmp_path / "latest", force=True)
    assert (tmp_path / "latest").is_symlink()
    assert run_folder.read(tmp_path / "run").metric("jobs") == 6.0


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RunFolderError, match="cannot be"):
        run_folder.write(plain(), tmp_path / "loop")


def test_the_folder_can_be_asked_for_before_a_long_run(tmp_path: Path) -> None:
    run_folder.check(tmp_path / "new")
    run_folder.write(plain(), tmp_path / "run")
    run_folder.check(tmp_path / "run", force=True)
    with pytest.raises(RunFolderError, match="--force"):
        run_folder.check(tmp_path / "run")
    assert not (tmp_path / "new").exists()


# when it goes wrong


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    full = Failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(RunFolderError, match="cannot be written: No space left on device; nothing was kept"):
        run_folder.write(eventful(), tmp_path / "run", extra=full)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_system_cuts_off_leaves_nothing_behind(tmp_path: Path) -> None:
    """The kernel itself refuses the bytes after the first thousand, in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(RunFolderError, match="cannot be written: File too large"):
            run_folder.write(eventful(), tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full")], ids=["Ctrl-C", "full disk"]
)
def test_an_earlier_run_survives_a_failed_replacement(tmp_path: Path, error: BaseException) -> None:
    run_folder.write(plain(), tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises((KeyboardInterrupt, RunFolderError)):
        run_folder.write(eventful(), tmp_path / "run", force=True, extra=Failing(error))
    assert contents(tmp_path / "run") == before
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_folder.write(eventful(), tmp_path / "run", extra=Failing(KeyboardInterrupt()))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_run_comes_back_when_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    run_folder.write(plain(), tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        run_folder._put_in_place(tmp_path / "never-built", tmp_path / "run")
    assert contents(tmp_path / "run") == before
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


@pytest.mark.parametrize("place", ["file/run", "file/deeper/run"])
def test_a_parent_that_is_a_file_is_told_beforehand(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="run cannot be written: file is a file, not a folder"):
        run_folder.check(tmp_path / place)


@pytest.mark.parametrize("place", ["run", "deeper/run"])
def test_a_folder_without_permission_is_told_beforehand(anybody: Path, place: str) -> None:
    anybody.chmod(0o555)
    with pytest.raises(RunFolderError, match="run cannot be written: Permission denied"):
        run_folder.check(anybody / place)
    assert list(anybody.iterdir()) == []


def test_a_run_cannot_be_replaced_where_its_parent_is_read_only(anybody: Path) -> None:
    run_folder.write(plain(), anybody / "run")
    anybody.chmod(0o555)
    with pytest.raises(RunFolderError, match="run cannot be written: Permission denied"):
        run_folder.check(anybody / "run", force=True)


def test_a_name_that_no_system_takes_is_told_beforehand(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot be written: File name too long"):
        run_folder.check(tmp_path / ("x" * 250))


@pytest.mark.skipif(not Path("/proc").is_mount(), reason="this system has no /proc")
def test_a_place_where_nothing_can_be_made_is_told_beforehand() -> None:
    with pytest.raises(RunFolderError, match="is where a disk begins"):
        run_folder.check(Path("/proc"))
    with pytest.raises(RunFolderError, match="cannot be written: No such file or directory"):
        run_folder.check(Path("/proc/run"))


def test_parents_made_for_a_run_that_fails_go_too(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyboardInterrupt):
        run_folder.write(plain(), tmp_path / "mine" / "a" / "b" / "run", extra=Failing(KeyboardInterrupt()))
    assert [file.name for file in tmp_path.rglob("*")] == ["mine"]


def test_leftovers_of_a_killed_process_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".run.writing-0").mkdir()
    run_folder.write(plain(), tmp_path / "run")
    assert run_folder.read(tmp_path / "run").metric("jobs") == 3.0
