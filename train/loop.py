"""The steps of training, one function each, in the order of the textbooks.

    preprocess   from stored bytes to normalised numbers on the device
    initialise   the first weights of the model (in `starts`)
    forward      inputs to logits
    loss         how wrong the logits are
    backward     what each weight has to do with that
    update       better weights
    evaluate     loss and accuracy on a split kept apart, to watch progress
    infer        the most likely class of new samples

``step`` does what one batch needs, ``fit`` repeats it until the recipe is done or nothing gets better.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from sim.errors import PlanError
from train import data, ddp, transfer
from train import preprocess as inputs_of
from train.config import Augment
from train.data import Batch, InOrder, Split
from train.starts import initialise
from train.training import Setting, Training, feed

__all__ = [
    "backward",
    "evaluate",
    "fit",
    "forward",
    "infer",
    "initialise",
    "loss",
    "preprocess",
    "step",
    "update",
]


@dataclass(frozen=True, slots=True)
class Score:
    """How a model does on a split."""

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model makes of each sample: the most likely class, and how sure it is."""

    labels: Tensor
    predicted: Tensor
    confidence: Tensor

    @property
    def accuracy(self) -> float:
        """Part of the samples whose most likely class is the right one."""
        return (self.predicted == self.labels).float().mean().item()


def preprocess(batch: Batch, setting: Setting, augment: Augment | None = None) -> Batch:
    """A batch as the model takes it: on its device, from 0 to 1, changed at random, normalised."""
    inputs, labels = inputs_of.to_device(batch, setting.place.device, channels_last=setting.channels_last)
    inputs = inputs_of.augmented(inputs_of.scaled(inputs, setting.task), augment)
    return inputs_of.normalised(inputs, setting.task), labels


def forward(model: nn.Module, inputs: Tensor, setting: Setting) -> Tensor:
    """The logits of a batch."""
    with setting.autocast():
        logits: Tensor = model(inputs)
    return logits


def loss(training: Training, inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """How wrong the logits are, on average over the samples of an update."""
    with training.setting.autocast():
        return training.objective(inputs, logits, labels) / training.recipe.accumulate


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean of minus the logarithm of the probability that each label was given."""
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), label_smoothing=smoothing)


def backward(training: Training, cost: Tensor) -> None:
    """Add to the gradient of each weight; with fp16 all are scaled up, lest small ones vanish."""
    training.scaler.scale(cost).backward()  # type: ignore[no-untyped-call]


def update(training: Training) -> None:
    """Move the weights against their gradients, as far as the schedule says."""
    recipe, optimiser = training.recipe, training.optimiser
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(training) * group["part"]
    if recipe.clip_norm is not None:
        training.scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(training.model.parameters(), recipe.clip_norm)
    training.scaler.step(optimiser)
    training.scaler.update()
    optimiser.zero_grad(set_to_none=True)
    keep_pruned(training)


def learning_rate(training: Training) -> float:
    """The learning rate of the head, or of all weights where none is told apart, at this moment."""
    return training.recipe.optimiser.learning_rate * training.recipe.schedule.factor(training.part_done)


def keep_pruned(training: Training) -> None:
    """Set removed weights to zero again; momentum moves them."""
    with torch.no_grad():
        for name, mask in training.masks.items():
            training.model.get_parameter(name).mul_(mask)


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, setting: Setting) -> Score:
    """Loss and accuracy on a split; each process takes its share of it."""
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    place = setting.place
    for batch in _in_order(split, setting, place.rank, place.world):
        inputs, labels = preprocess(batch, setting)
        logits = forward(model, inputs, setting).float()
        right = (logits.argmax(-1) == labels).sum()
        sums += torch.stack([cross_entropy(logits, labels) * labels.numel(), right, _count(labels)]).cpu()
    loss_sum, right, count = ddp.total(sums.to(place.device), place).tolist()
    return Score(loss_sum / count, right / count)


@torch.no_grad()
def infer(model: nn.Module, split: Split, setting: Setting) -> Predictions:
    """The most likely class of each sample of a split, in its order."""
    model.eval()
    found = []
    for batch in _in_order(split, setting):
        inputs, labels = preprocess(batch, setting)
        best = forward(model, inputs, setting).float().softmax(-1).max(-1)
        found.append((labels.cpu(), best.indices.cpu(), best.values.cpu()))
    return Predictions(*(torch.cat(column) for column in zip(*found, strict=True)))


def _in_order(split: Split, setting: Setting, rank: int = 0, world: int = 1) -> DataLoader[Batch]:
    return data.loader(
        split, InOrder(len(split), setting.batch, rank, world), setting.workers, pinned=setting.pinned
    )


def _count(labels: Tensor) -> Tensor:
    return torch.tensor(labels.numel(), device=labels.device)


def step(training: Training, parts: list[Batch]) -> Tensor:
    """One update from one batch, which comes in parts if gradients are accumulated; the loss of the batch."""
    total = torch.zeros((), device=training.setting.place.device)
    for number, part in enumerate(parts, start=1):
        with ddp.undivided(training.averaged, last=number == len(parts)):
            inputs, labels = preprocess(part, training.setting, training.recipe.augment)
            logits = forward(training.averaged, inputs, training.setting)
            cost = loss(training, inputs, logits, labels)
            backward(training, cost)
        total += cost.detach()
    update(training)
    return total


def fit(
    training: Training,
    after_step: Callable[[Training], None] = lambda _: None,
    after_epoch: Callable[[Training], None] = lambda _: None,
) -> None:
    """Train until the recipe is done or, if it says so, until nothing gets better."""
    while training.epoch < training.recipe.epochs and not has_stopped(training):
        _learn(training, after_step)
        after_epoch(training)


def _learn(training: Training, after_step: Callable[[Training], None]) -> None:
    """What is left of an epoch, and its line in the history."""
    _set_stage(training)
    parts, started_s, first = feed(training), perf_counter(), training.done
    while training.done < training.batches.steps:
        training.loss_sum += step(training, list(islice(parts, training.recipe.accumulate)))
        training.done += 1
        if training.done < training.batches.steps:
            after_step(training)
    seconds = perf_counter() - started_s
    _close_epoch(training, (training.done - first) * training.recipe.batch / seconds)


def _set_stage(training: Training) -> None:
    """Put the model in training mode, its body frozen if this epoch trains the head only."""
    frozen = transfer.is_frozen(training.recipe, training.epoch)
    if training.recipe.transfer:
        transfer.set_frozen(training.model, frozen=frozen)
        training.averaged = ddp.shared(training.model, training.setting.place)
    transfer.set_training(training.model, frozen=frozen)


def _close_epoch(training: Training, samples_per_s: float) -> None:
    place = training.setting.place
    mean = ddp.total(training.loss_sum / training.done, place).item() / place.world
    row = {
        "epoch": float(training.epoch + 1),
        "learning_rate": learning_rate(training),
        "training_loss": mean,
        "samples_per_s": samples_per_s,
    }
    if not math.isfinite(mean):
        raise PlanError(
            f"the loss is not a number any more after epoch {training.epoch + 1}; "
            f"try a smaller optimiser.learning_rate, a warm-up, or clip_norm"
        )
    if len(training.splits.validation):
        score = evaluate(training.model, training.splits.validation, training.setting)
        row |= {"validation_loss": score.loss, "validation_accuracy": score.accuracy}
    training.history.append(row)
    training.epoch, training.done = training.epoch + 1, 0
    training.loss_sum.zero_()
    _remember_best(training)


def _remember_best(training: Training) -> None:
    """Keep the weights of the best epoch so far, for early stopping."""
    if training.recipe.early_stopping and best_epoch(training) == training.epoch:
        weights = {name: value.detach().clone() for name, value in training.model.state_dict().items()}
        training.best = {"epoch": training.epoch, "model": weights}


def best_epoch(training: Training) -> int:
    """The first epoch, counted from 1, that no other was better than."""
    metric = training.recipe.early_stopping.metric if training.recipe.early_stopping else "validation_loss"
    sign = -1 if metric == "validation_accuracy" else 1
    values = [sign * row[metric] for row in training.history]
    return values.index(min(values)) + 1


def has_stopped(training: Training) -> bool:
    """Whether early stopping ends the training here."""
    stopping = training.recipe.early_stopping
    if stopping is None or not training.history:
        return False
    return training.epoch - best_epoch(training) >= stopping.patience
