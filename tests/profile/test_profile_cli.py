"""dcplan profile, as a user calls it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sim.cli_output import Commands
from sim.profile import json_schema, read
from train.profile_cli import profile

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--device", "cpu", "--quick", "--models", "textbook", "--batches", "2,4")


@click.group(cls=Commands)
def main() -> None:
    """dcplan with nothing but the command in question."""


main.add_command(profile)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["profile", *map(str, arguments)])


@pytest.fixture
def one_thread() -> None:
    pytest.importorskip("torch", reason="the extra train brings torch").set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
def test_a_small_sweep_is_written_and_told(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    result = run(*SMALL, "--only", "training,inference,checkpoint,host_to_device", "--out", out)
    assert result.exit_code == 0, result.stderr
    found = read(out)
    assert found.complete
    assert [row.status for row in found.rows] == ["ok"] * len(found.rows)
    assert {row.pass_index[-1] for row in found.training} == {1}
    assert found.command == (
        "dcplan profile --device cpu --out "
        f"{out} --quick --models textbook --batches 2,4 --only training,inference,checkpoint,host_to_device"
    )
    assert list(found.models) == ["textbook@28"]
    assert "textbook@28" in result.stdout
    assert "Data and communication" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]


@pytest.mark.usefixtures("one_thread")
def test_json_is_the_file(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    result = run(*SMALL, "--only", "host_to_device", "--json", "--out", out)
    assert json.loads(result.stdout) == json.loads(out.read_text("utf-8"))


@pytest.mark.usefixtures("one_thread")
def test_an_earlier_profile_is_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    out.write_text("measured for hours", "utf-8")
    result = run(*SMALL, "--out", out)
    assert (result.exit_code, result.stderr) == (
        2,
        f"{out} exists; choose another file, or replace it with --force\n",
    )
    assert out.read_text("utf-8") == "measured for hours"


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--models", "resnet19", '"resnet19" is not a model that can be measured; did you mean "resnet18"'),
        ("--models", "resnet18@big", '"resnet18@big": write the size after @ as a number'),
        ("--precisions", "fp8", '--precisions: "fp8" cannot be measured here; choose fp32, bf16 or fp16'),
        ("--precisions", "tf32", '--precisions: "tf32" cannot be measured here; '),
        ("--layouts", "nhcw", '--layouts: "nhcw" cannot be measured here; did you mean "nhwc"'),
        ("--only", "trainig", '--only: "trainig" cannot be measured here; did you mean "training"?'),
        ("--batches", "two", "is not a list of positive whole numbers, such as 8,32"),
        ("--batches", "0", "is not a list of positive whole numbers, such as 8,32"),
        ("--device", "tpu", "'tpu' is not one of"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, option: str, value: str, told: str) -> None:
    result = run("--device", "cpu", option, value, "--out", tmp_path / "profile.json")
    assert result.exit_code == 2
    assert told in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("one_thread")
def test_a_folder_that_is_not_there_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    result = run(*SMALL, "--out", tmp_path / "none" / "profile.json")
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory" in result.stderr


def test_the_schema_is_printed_without_measuring() -> None:
    assert json.loads(run("--schema").stdout) == json_schema()


def test_without_torch_the_remedy_is_told() -> None:
    code = (
        "import sys, importlib.util as u; found = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'torch' else found(name, *a);"
        "from tests.profile.test_profile_cli import main; main(['profile'])"
    )
    result = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.endswith('pip install "dcplan[train]"\n')


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from train.profile_cli import profile; profile(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert "--world-sizes" in done.stdout


@pytest.mark.usefixtures("one_thread")
def test_ctrl_c_leaves_a_sound_file_with_what_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    arguments = ["profile", *SMALL, "--out", str(out)]
    code = f"from tests.profile.test_profile_cli import main; main({arguments!r})"
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_rows(out, process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout) == (130, "")
    assert f"Interrupted; {out} holds what was measured." in stderr
    assert "Traceback" not in stderr
    left = read(out)
    assert not left.complete
    assert left.rows
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]


def wait_for_rows(out: Path, process: subprocess.Popen[str]) -> None:
    """Until the file has a row."""
    while process.poll() is None and not (out.exists() and read(out).rows):
        time.sleep(0.05)


def test_lists_may_be_given_at_once_or_one_by_one() -> None:
    (only,) = [option for option in profile.params if option.name == "only"]
    parsed = [
        profile.make_context("profile", ["--only", *words]).params["only"]
        for words in (["loader,storage"], ["loader", "--only", "storage"])
    ]
    assert parsed == [("loader", "storage")] * 2
    assert only.multiple  # type: ignore[attr-defined]
