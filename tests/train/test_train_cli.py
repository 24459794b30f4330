"""dcplan train, as a user calls it."""

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
from train import config
from train.cli import train

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--set", "epochs=1", "--set", "model.channels=4", "--device", "cpu", "--threads", "1")
CALL = """
import sys, click
from sim.cli_output import Commands
{before}
from train.cli import train
main = click.group(cls=Commands)(lambda: None)
main.add_command(train)
main()
"""
WITHOUT_TORCH = CALL.format(before="sys.modules['torch'] = sys.modules['torchvision'] = None")


@click.group(cls=Commands)
def main() -> None:
    """dcplan with nothing but the command in question."""


main.add_command(train)


@pytest.fixture
def with_torch() -> None:
    pytest.importorskip("torch", reason="needs the extra train")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def start(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """The command as a program of its own."""
    return subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", script, "train", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("with_torch")
def test_the_digits_are_learnt_and_told_in_a_sentence(tmp_path: Path) -> None:
    result = run("digits", *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("digits: ")
    assert "of 359 test samples are right after 1 epochs" in result.stdout
    assert f"Results in {tmp_path / 'out'}; to look at: {tmp_path / 'out' / 'curves.svg'}" in result.stderr


@pytest.mark.usefixtures("with_torch")
def test_json_is_the_summary_in_the_folder(tmp_path: Path) -> None:
    result = run("digits", *SMALL, "--seed", 7, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert (summary["epochs"], summary["processes"], summary["recipe"]) == (1, 1, "digits")
    assert config.load(str(tmp_path / "out" / "recipe.yaml")).seed == 7


@pytest.mark.usefixtures("with_torch")
def test_a_training_can_be_repeated_from_its_folder_and_gone_on_with(tmp_path: Path) -> None:
    assert run("digits", *SMALL, "--out", tmp_path / "one").exit_code == 0
    recipe = tmp_path / "one" / "recipe.yaml"
    assert run(recipe, "--device", "cpu", "--out", tmp_path / "two").exit_code == 0
    first, second = ((tmp_path / name / "predictions.csv").read_text("utf-8") for name in ("one", "two"))
    assert first == second
    longer = run(recipe, "--set", "epochs=2", "--device", "cpu", "--out", tmp_path / "one", "--resume")
    assert longer.exit_code == 0, longer.stderr
    assert len((tmp_path / "one" / "metrics.csv").read_text("utf-8").splitlines()) == 3
    assert config.load(str(recipe)).epochs == 2


@pytest.mark.usefixtures("with_torch")
def test_an_earlier_training_is_not_lost(tmp_path: Path) -> None:
    assert run("digits", *SMALL, "--out", tmp_path).exit_code == 0
    result = run("digits", *SMALL, "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "go on with --resume, replace it with --force" in result.stderr


def test_an_unknown_recipe_is_told_with_the_nearest(tmp_path: Path) -> None:
    result = run("digts", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert '"digts" is neither a file nor a recipe of dcplan; did you mean "digits"?' in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_bad_field_is_told_with_its_file_and_line(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\ndata: digits\nepoch: 3\n", "utf-8")
    result = run(recipe, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f'{recipe}:3: epoch: unknown field; did you mean "epochs"?\n'


@pytest.mark.usefixtures("with_torch")
def test_data_that_are_not_there_are_told_with_what_to_do(tmp_path: Path) -> None:
    result = run("textbook_mnist", "--device", "cpu", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not there" in result.stderr
    assert "--download" in result.stderr
    assert "--data-dir" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("with_torch")
@pytest.mark.parametrize(("device", "told"), [("tpu9", "is not a device"), ("cuda:99", "cannot be reached")])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str, told: str) -> None:
    result = run("digits", "--device", device, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert told in result.stderr


def test_recipes_are_listed() -> None:
    listed = json.loads(run("--list", "--json").stdout)
    assert tuple(listed) == config.names()
    assert all(name in run("--list").stdout for name in listed)


def test_without_torch_the_remedy_is_told(tmp_path: Path) -> None:
    with start(WITHOUT_TORCH, "digits", "--out", tmp_path / "out") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert err == 'training needs torch and torchvision: pip install "dcplan[train]"\n'
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("with_torch")
@pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "\nInterrupted"), (signal.SIGTERM, 143, "Stopped")]
)
def test_an_interrupted_training_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    out = tmp_path / "out"
    endless = ("digits", *SMALL, "--set", "epochs=100000", "--out", out)
    written = ("recipe.yaml", "checkpoint.pt", "metrics.csv", "curves.svg")
    with start(CALL.format(before=""), *endless) as process:
        until = time.monotonic() + 60
        while not all((out / name).exists() for name in written):
            if process.poll() is not None or time.monotonic() > until:
                break
            time.sleep(0.01)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (code, ""), stderr
    assert stderr == f"{word}; {out / 'checkpoint.pt'} stays, go on with the same command and --resume.\n"
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == set(written)
    trained = len((out / "metrics.csv").read_text("utf-8").splitlines())
    resumed = run("digits", *SMALL, "--set", f"epochs={trained + 1}", "--out", out, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert f"after {trained + 1} epochs" in resumed.stdout
