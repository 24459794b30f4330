"""The profile file: what is written is read, and what is not a measurement is refused with its place."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.errors import ProfileError
from sim.profile import TrainingRow, json_schema, read, write
from tests.support.profiles import profile, row

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "profile.schema.json"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sound profile."""
    path = tmp_path / "profile.json"
    write(profile(), path)
    return path


def told(path: Path) -> str:
    """What is told of a file that is refused."""
    with pytest.raises(ProfileError) as caught:
        read(path)
    return str(caught.value).replace(str(path), "profile.json")


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


def test_what_is_written_is_read(file: Path) -> None:
    assert read(file).model_copy(update={"checksum": None}) == profile()


def test_a_file_fits_its_schema(file: Path) -> None:
    jsonschema.validate(json.loads(file.read_text("utf-8")), json_schema())


def test_the_schema_in_the_docs_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text("utf-8")) == json_schema(), "dcplan profile --schema > " + str(SCHEMA)


def test_readers_without_dcplan_find_the_figures_in_it(file: Path) -> None:
    first = json.loads(file.read_text("utf-8"))["training"][0]
    assert first["median_s"] == pytest.approx(0.11)
    assert first["images_per_s"] == pytest.approx(2 / 0.11)
    assert first["spread"] == pytest.approx(0.015 / 0.11)


def test_it_is_read_without_torch(file: Path) -> None:
    code = (
        "import sys, pathlib; sys.modules['torch'] = None; from sim import profile; "
        f"profile.read(pathlib.Path({str(file)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own words


def test_a_file_that_is_cut_is_refused(file: Path) -> None:
    text = file.read_text("utf-8")
    file.write_text(text[: len(text) // 2], "utf-8")
    assert "not JSON" in told(file)
    assert "the file is cut or damaged; measure again with dcplan profile" in told(file)


@pytest.mark.parametrize("text", ["", "[]", "3", "\x00\xff", '{"format": "other"}', "{" * 100_000])
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(text.encode("latin-1"))
    assert told(path).startswith("profile.json:")


def test_a_file_that_is_not_there_is_told() -> None:
    assert told(Path("nowhere.json")) == "profile.json: cannot be read: no such file or directory"


def test_an_edit_by_hand_is_refused_with_the_way_out(file: Path) -> None:
    edit(file, "0.1,", "0.05,")
    assert "the file was changed after it was measured" in told(file)


def test_an_edit_is_read_and_noted_where_the_checksum_is_taken_out(file: Path) -> None:
    tree = json.loads(file.read_text("utf-8"))
    del tree["checksum"]
    tree["training"][0]["step_s"][0] = 0.05
    file.write_text(json.dumps(tree), "utf-8")
    assert read(file).training[0].step_s[0] == 0.05


def test_the_layout_of_the_text_is_not_an_edit(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")), indent=4), "utf-8")
    read(file)


@given(st.integers(min_value=0), st.floats(min_value=1e-9, max_value=1e9))
def test_no_changed_time_goes_unnoticed(position: int, time_s: float) -> None:
    from tempfile import TemporaryDirectory  # noqa: PLC0415 - hypothesis wants no fixture here

    with TemporaryDirectory() as folder:
        path = Path(folder) / "profile.json"
        write(profile(), path)
        tree = json.loads(path.read_text("utf-8"))
        times_s = tree["training"][0]["step_s"]
        changed = times_s[position % 6] != time_s
        times_s[position % 6] = time_s
        path.write_text(json.dumps(tree), "utf-8")
        if changed:
            assert "changed after it was measured" in told(path)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("NaN", "training.0.step_s.0: .nan is not a finite number"),
        ("Infinity", "training.0.step_s.0: .inf is not a finite number"),
        ("1e999", "training.0.step_s.0: .inf is not a finite number"),
        ("-0.1", "training.0.step_s.0: -0.1 must be more than 0"),
        ("0.0", "training.0.step_s.0: 0.0 must be more than 0"),
        ('"fast"', 'training.0.step_s.0: "fast" is not a number'),
    ],
)
def test_what_cannot_be_a_time_is_refused_with_its_line(file: Path, written: str, fault: str) -> None:
    edit(file, "[0.1,", f"[{written},")
    line = next(i for i, text in enumerate(file.read_text("utf-8").splitlines(), 1) if f"[{written}," in text)
    assert told(file) == f"profile.json:{line}: {fault}"


def test_a_file_of_another_version_is_refused(file: Path) -> None:
    edit(file, '"version": 1', '"version": 2')
    assert told(file) == (
        "profile.json:3: version: this is version 2 and this dcplan reads version 1; "
        "measure again with dcplan profile"
    )


def test_every_fault_is_told_at_once(file: Path) -> None:
    edit(file, '"precision": "fp32"', '"precision": "fp31"')
    edit(file, '"batch_per_device": 4', '"batch_per_device": -4')
    assert len(told(file).splitlines()) == 2
    assert 'did you mean "fp32"?' in told(file)


def test_repetitions_and_passes_must_go_together() -> None:
    with pytest.raises(ValueError, match="2 passes for 6 repetitions"):
        row(pass_index=(0, 1))


def test_what_did_not_run_has_a_reason_and_no_times() -> None:
    with pytest.raises(ValueError, match="has a reason and no times"):
        TrainingRow(model="a", batch_per_device=1, status="failed")


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"cannot be written: No such file or directory"):
        write(profile(), tmp_path / "none" / "profile.json")


def test_a_write_that_fails_leaves_the_last_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(ProfileError, match="No space left on device"):
        write(profile(row()), file)
    assert len(read(file).training) == 4
    assert [path.name for path in file.parent.iterdir()] == ["profile.json"]
