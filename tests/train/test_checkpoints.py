"""Checkpoints: a training that is killed goes on as if nothing had happened; other files are refused."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from sim.errors import PlanError, RunFolderError
from tests.train import small
from train import checkpoint, config, experiment
from train.config import Recipe
from train.experiment import Options

ROOT = Path(__file__).resolve().parents[2]
RICH = {
    "model": {"kind": "resnet", "widths": (4, 8)},
    "augment": {"shift_pixels": 1, "flip": True},
    "schedule": {"kind": "one_cycle"},
    "early_stopping": {"patience": 5},
    "checkpoint_every_steps": 2,
    "precision": "fp16",
    "accumulate": 2,
}
"""A recipe with state in every corner: running statistics, draws, a scaler, the best epoch."""

CHILD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from train import config, experiment, ddp
options = experiment.Options(Path(sys.argv[2]), resume=True)
with ddp.joined("cpu") as place:
    experiment.carry_out(config.load(sys.argv[1]), options, place)
"""


def carried_out(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    return experiment.carry_out(recipe, Options(folder, **options), small.HERE)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(folder / "checkpoint.pt")["model"]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def start(recipe: Path, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", CHILD, str(recipe), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )


def wait_for_change(path: Path, process: "subprocess.Popen[bytes]") -> None:
    """Until the file has been replaced, or the process has ended."""
    before = path.stat().st_ino if path.exists() else None
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if path.exists() and path.stat().st_ino != before:
            return
        time.sleep(0.002)


def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = small.recipe(**RICH, epochs=6)
    (tmp_path / "recipe.yaml").write_text(config.dump(recipe), "utf-8")
    carried_out(recipe, tmp_path / "whole")
    killed = tmp_path / "killed"
    for delay_s in (0.0, 0.03):
        with start(tmp_path / "recipe.yaml", killed) as process:
            wait_for_change(killed / "checkpoint.pt", process)
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
        if (killed / "summary.json").exists():
            break
    with start(tmp_path / "recipe.yaml", killed) as process:
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 0, talk.decode()
    assert equal(weights(killed), weights(tmp_path / "whole"))
    assert predictions(killed) == predictions(tmp_path / "whole")
    assert [path.name for path in killed.glob(".*")] in ([], [".checkpoint.pt.writing"])


def predictions(folder: Path) -> str:
    return (folder / "predictions.csv").read_text("utf-8")


@pytest.mark.parametrize("stop_at", [1, 5, 8, 12])
def test_it_goes_on_from_any_step_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    class Killed(BaseException):
        """As good as a kill: nothing below may catch it."""

    recipe = small.recipe(**RICH)
    carried_out(recipe, tmp_path / "whole")
    saves = []
    save = checkpoint.write

    def save_or_die(path: Path, content: Any) -> None:
        saves.append(path)
        if len(saves) == stop_at:
            raise Killed
        save(path, content)

    monkeypatch.setattr(checkpoint, "write", save_or_die)
    with pytest.raises(Killed):
        carried_out(recipe, tmp_path / "stopped")
    monkeypatch.undo()
    carried_out(recipe, tmp_path / "stopped", resume=True)
    assert equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))
    histories = [
        checkpoint.read(tmp_path / name / "checkpoint.pt")["history"] for name in ("whole", "stopped")
    ]
    for row in (row for history in histories for row in history):
        row.pop("samples_per_s")
    assert histories[0] == histories[1]


def test_a_checkpoint_holds_all_that_the_issue_asks_for(tmp_path: Path) -> None:
    carried_out(small.recipe(**RICH, epochs=1), tmp_path)
    content = checkpoint.read(tmp_path / "checkpoint.pt")
    assert {"model", "optimiser", "schedule", "scaler", "random", "sampler"} <= content.keys()
    assert content["scaler"]["scale"] > 0
    assert content["sampler"]["epoch"] == 1


def test_a_write_that_fails_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out(small.recipe(epochs=1), tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlanError, match=r"cannot be written: .*No space left"):
        checkpoint.write(tmp_path / "checkpoint.pt", {})
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


class Trap:
    """What must never run when a file is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("trapped"),)


def test_a_file_that_holds_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": checkpoint.FORMAT, "model": Trap()}, tmp_path / "foreign.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap()))
    for name in ("foreign.pt", "plain.pt"):
        with pytest.raises(PlanError, match="nothing in it was run"):
            checkpoint.read(tmp_path / name)
    assert not (tmp_path / "trapped").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    carried_out(small.recipe(epochs=1), tmp_path / "run")
    content = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    size = len(content)
    flipped = bytearray(content)
    flipped[size // 2] ^= 0xFF
    damaged = [b"", content[:10], content[: size // 2], content[:-1], b"<html>" + content[6:], bytes(flipped)]
    for number, part in enumerate(damaged):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(part)
        with pytest.raises(PlanError, match="damaged"):
            checkpoint.read(path)


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    torch.save({"format": checkpoint.FORMAT, "version": 99}, tmp_path / "newer.pt")
    checkpoint.write(tmp_path / "part.pt", {"model": {}})
    with pytest.raises(PlanError, match="is not a checkpoint of dcplan"):
        checkpoint.read(tmp_path / "other.pt")
    with pytest.raises(PlanError, match="is of version 99, this dcplan reads 1"):
        checkpoint.read(tmp_path / "newer.pt")
    with pytest.raises(PlanError, match="it lacks best, history"):
        checkpoint.read(tmp_path / "part.pt")
    with pytest.raises(PlanError, match="there is no such file"):
        checkpoint.read(tmp_path / "none.pt")


def test_a_training_of_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    carried_out(small.recipe(epochs=1), tmp_path)
    with pytest.raises(PlanError, match="of another recipe, which differs in batch, seed"):
        carried_out(small.recipe(epochs=1, batch=8, seed=4), tmp_path, resume=True)


def test_a_training_can_be_made_longer(tmp_path: Path) -> None:
    carried_out(small.recipe(epochs=1), tmp_path / "longer")
    carried_out(small.recipe(epochs=3), tmp_path / "longer", resume=True)
    carried_out(small.recipe(epochs=3), tmp_path / "whole")
    assert equal(weights(tmp_path / "longer"), weights(tmp_path / "whole"))


def test_a_folder_that_holds_something_is_not_lost(tmp_path: Path) -> None:
    carried_out(small.recipe(epochs=1), tmp_path / "run")
    with pytest.raises(RunFolderError, match="--resume"):
        carried_out(small.recipe(epochs=1), tmp_path / "run")
    carried_out(small.recipe(epochs=1, seed=8), tmp_path / "run", force=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(RunFolderError, match="is no training; it is left alone"):
        carried_out(small.recipe(epochs=1), tmp_path / "other", force=True)
