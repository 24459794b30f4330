"""What a change of a model saves: how right, how large and how fast it is, before and after.

Rates are medians of repetitions on one batch that lies on the device already, after a warm-up.
"""

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn

from train import loop, models, transfer
from train.data import Batch
from train.training import Training, twin

WARM_UP, LEAST, SECONDS = 3, 5, 1.0
"""Steps that do not count, fewest steps that do, and for how long steps are repeated."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A model in the numbers that a capacity planner asks for; a rate is None where it has no meaning."""

    stage: str
    test_accuracy: float
    parameters: int
    stored_bytes: int
    training_samples_per_s: float | None
    inference_samples_per_s: float

    def row(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


def figures(stage: str, training: Training, stored: object = None, *, frozen: bool = False) -> Figures:
    """The figures of the model of a training, which is left as it is; `stored` is what a file holds of it."""
    copy = twin(training)
    transfer.set_frozen(copy.model, frozen=frozen)
    return Figures(
        stage,
        accuracy(copy.model, training),
        models.parameters(copy.model),
        stored_bytes(stored or copy.model.state_dict()),
        training_rate(copy, frozen=frozen),
        inference_rate(copy.model, training),
    )


def accuracy(model: nn.Module, training: Training) -> float:
    """Part of the test split that a model gets right."""
    return loop.infer(model, training.splits.test, training.setting).accuracy


def stored_bytes(content: object) -> int:
    """Size of a file that holds this and nothing else."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.tell()


def training_rate(copy: Training, *, frozen: bool = False) -> float:
    """Samples per second in whole training steps; the weights change."""
    batch = _batch(copy)
    with torch.random.fork_rng(devices=_gpus(copy)):
        transfer.set_training(copy.model, frozen=frozen)
        return len(batch[1]) / _median_s(lambda: loop.step(copy, [batch]), copy)


@torch.no_grad()
def inference_rate(model: nn.Module, training: Training) -> float:
    """Samples per second in forward passes."""
    inputs, labels = loop.preprocess(_batch(training), training.setting)
    model.eval()
    return len(labels) / _median_s(lambda: loop.forward(model, inputs, training.setting), training)


def _batch(training: Training) -> Batch:
    """As many samples as the device takes at a time, on the device."""
    split = training.splits.train
    inputs, labels = split.__getitems__(range(min(training.setting.batch, len(split))))
    device = training.setting.place.device
    return inputs.to(device), labels.to(device)


def _median_s(run: Callable[[], object], training: Training) -> float:
    for _ in range(WARM_UP):
        run()
    seconds: list[float] = []
    while len(seconds) < LEAST or sum(seconds) < SECONDS:
        _synchronise(training)
        start = perf_counter()
        run()
        _synchronise(training)
        seconds.append(perf_counter() - start)
    return median(seconds)


def _synchronise(training: Training) -> None:
    if training.setting.place.device.type == "cuda":
        torch.cuda.synchronize(training.setting.place.device)


def _gpus(training: Training) -> list[torch.device]:
    device = training.setting.place.device
    return [device] if device.type == "cuda" else []
