"""Two processes that gloo connects learn what one learns from the same batches."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from sim.errors import PlanError
from tests.train import small
from train import checkpoint, config, experiment
from train.data import Batches

ROOT = Path(__file__).resolve().parents[2]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulate": {"accumulate": 2},
    "clip_norm": {"clip_norm": 0.5, "optimiser": {"kind": "sgd", "learning_rate": 0.05}},
    "normalised": {"model": {"kind": "resnet", "widths": (4,)}, "epochs": 1},
}
CHILD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from train import config, ddp, experiment
with ddp.joined("cpu") as place:
    for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
        options = experiment.Options(file.with_suffix(""))
        experiment.carry_out(config.load(str(file)), options, place)
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def process(rank: int, port: int, folder: Path) -> "subprocess.Popen[str]":
    """One of two processes, told its place as torchrun does."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    own = {name: str(value) for name, value in told.items()}
    return subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", CHILD, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1", **own},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of each case, trained by two processes."""
    folder = tmp_path_factory.mktemp("two")
    for name, changes in CASES.items():
        (folder / f"{name}.yaml").write_text(config.dump(small.recipe(**changes)), "utf-8")
    port = free_port()
    with process(0, port, folder) as first, process(1, port, folder) as second:
        talk = [each.communicate(timeout=90)[1] for each in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), "\n".join(talk)
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of each case, trained by this process alone."""
    folder = tmp_path_factory.mktemp("one")
    for name, changes in CASES.items():
        experiment.carry_out(small.recipe(**changes), experiment.Options(folder / name), small.HERE)
    return folder


def distance(first: Path, second: Path) -> float:
    """The largest difference between the weights that two trainings left."""
    weights, others = (checkpoint.read(folder / checkpoint.FILE)["model"] for folder in (first, second))
    return max((weights[name] - others[name]).abs().max().item() for name in weights)


def history(folder: Path, column: str) -> list[float]:
    return [row[column] for row in checkpoint.read(folder / checkpoint.FILE)["history"]]


@pytest.mark.parametrize("name", ["plain", "accumulate", "clip_norm"])
def test_two_processes_learn_what_one_learns(one: Path, two: Path, name: str) -> None:
    assert distance(one / name, two / name) < 1e-4
    for column in ("training_loss", "validation_loss", "validation_accuracy"):
        assert history(two / name, column) == pytest.approx(history(one / name, column), rel=1e-4)


def test_batch_normalisation_sees_the_share_of_its_process_only(one: Path, two: Path) -> None:
    assert distance(one / "normalised", two / "normalised") > 1e-3
    assert history(two / "normalised", "training_loss") == pytest.approx(
        history(one / "normalised", "training_loss"), rel=0.1
    )


def test_only_the_first_process_writes(two: Path) -> None:
    assert [path.name for path in (two / "plain").glob(".*")] == []
    assert '"processes": 2' in (two / "plain" / "summary.json").read_text("utf-8")


def test_shares_of_all_processes_make_the_batch_of_one() -> None:
    whole = list(Batches(64, 16, 1, seed=5, rank=0, world=1))
    shares = [list(Batches(64, 16, 2, seed=5, rank=rank, world=2)) for rank in (0, 1)]
    joined = [
        [sample for share in shares for part in share[2 * step : 2 * step + 2] for sample in part]
        for step in range(4)
    ]
    assert joined == whole


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(PlanError, match="batch: 16 does not divide into 3 processes x 1 parts"):
        Batches(64, 16, 1, seed=5, rank=0, world=3)
