"""Small trainings for tests."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from train import distil, loop, sources
from train import training as trainings
from train.config import Recipe
from train.ddp import Place
from train.training import Training

HERE = Place(torch.device("cpu"))


def recipe(**changes: Any) -> Recipe:
    """Three epochs of 128 digits with a narrow textbook network."""
    values = {
        "name": "small",
        "seed": 3,
        "data": {"kind": "digits", "samples": 160, "validation": 0.2},
        "model": {"kind": "textbook", "channels": 4, "hidden": 16},
        "optimiser": {"kind": "adam", "learning_rate": 0.01},
        "epochs": 3,
        "batch": 16,
    }
    return Recipe(**(values | changes))


def training(wanted: Recipe, folder: Path = Path("nowhere")) -> Training:
    """The training of a recipe before its first step."""
    splits = sources.read(wanted.data, folder, wanted.seed)
    model = loop.initialise(wanted, splits.task, folder)
    teacher = distil.teacher(wanted, splits.task, HERE)
    model = trainings.translated(model, wanted)
    return trainings.prepare(wanted, splits, HERE, model, distil.objective(wanted, teacher))


def trained(wanted: Recipe, folder: Path = Path("nowhere")) -> Training:
    """The training of a recipe after its last step."""
    made = training(wanted, folder)
    with trainings.numerics(wanted):
        loop.fit(made)
    return made


def distance(one: Training, other: Training) -> float:
    """The largest difference between weights, running statistics included."""
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return max((first - second).abs().max().item() for first, second in pairs)
