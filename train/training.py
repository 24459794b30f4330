"""A training as it stands: the model, and all else that a checkpoint must hold to go on from there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from sim.errors import PlanError
from train import activations, config, data, ddp, models, starts, transfer
from train.config import Recipe
from train.data import Batches, Splits, Task
from train.ddp import Place

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The loss of inputs, the logits for them, and labels."""

OPTIMISERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
NO_COMPILER = ("InvalidCxxCompiler", "CppCompileError", "TritonMissing", "GPUTooOldForTriton")
"""What torch.compile says of a machine where it cannot make code."""

MAY_DIFFER = {"description", "epochs", "workers", "pin_memory", "checkpoint_every_steps", "early_stopping"}
"""What may be changed when a training is taken up again; its weights would still be right."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model is run: for what task, where, in which numbers, and how many samples at a time."""

    task: Task
    place: Place
    batch: int
    precision: str = "fp32"
    channels_last: bool = False
    workers: int = 0
    pinned: bool = False

    def autocast(self) -> torch.autocast:
        """Compute in fewer bits where that is safe, if the recipe says so."""
        dtype = DTYPES.get(self.precision)
        return torch.autocast(self.place.device.type, dtype or torch.bfloat16, enabled=dtype is not None)


@dataclass(slots=True)
class Training:
    """A model on its way, and how far it has come: so many epochs, and so many steps of the next one."""

    recipe: Recipe
    setting: Setting
    splits: Splits
    model: nn.Module
    averaged: nn.Module
    optimiser: Optimizer
    scaler: GradScaler
    batches: Batches
    objective: Objective
    loss_sum: Tensor
    epoch: int = 0
    done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    masks: dict[str, Tensor] = field(default_factory=dict)

    @property
    def part_done(self) -> float:
        """How much of all steps of the recipe is done, from 0 to 1."""
        return (self.epoch * self.batches.steps + self.done) / (self.recipe.epochs * self.batches.steps)


def prepare(recipe: Recipe, splits: Splits, place: Place, model: nn.Module, objective: Objective) -> Training:
    """A training about to begin: the model on its device, and an optimiser for it."""
    form = torch.channels_last if recipe.channels_last else torch.preserve_format
    model = model.to(place.device, memory_format=form)  # type: ignore[call-overload]
    transfer.set_frozen(model, frozen=transfer.is_frozen(recipe, 0))
    batches = Batches(
        len(splits.train), recipe.batch, recipe.accumulate, recipe.seed, place.rank, place.world
    )
    setting = Setting(
        splits.task,
        place,
        recipe.batch // recipe.accumulate // place.world,
        recipe.precision,
        recipe.channels_last,
        recipe.workers,
        recipe.pin_memory,
    )
    optimiser = OPTIMISERS[recipe.optimiser.kind](
        transfer.groups(model, recipe), **recipe.optimiser.arguments()
    )
    scaler = GradScaler(place.device.type, enabled=recipe.precision == "fp16")
    return Training(
        recipe,
        setting,
        splits,
        model,
        ddp.shared(model, place),
        optimiser,
        scaler,
        batches,
        objective,
        loss_sum=torch.zeros((), device=place.device),
    )


def translated(model: nn.Module, recipe: Recipe) -> nn.Module:
    """A model that computes as the recipe says: compiled, or its activations computed twice."""
    if recipe.activation_checkpointing:
        activations.recomputed(model)
    if recipe.compile:
        model.compile()
    return model


@contextmanager
def compiler_told_of() -> Iterator[None]:
    """Where torch.compile finds no compiler that works, say so: PlanError."""
    try:
        yield
    except BackendCompilerFailed as error:
        if not any(sign in str(error) for sign in NO_COMPILER):
            raise
        reason = str(error).splitlines()[0]
        raise PlanError(
            f"compile: torch.compile needs a C++ compiler that works, and Triton on a GPU ({reason}); "
            f"install one, name it in the environment variable CXX, or set compile to false"
        ) from error


def copied(training: Training) -> nn.Module:
    """The model of a training once more, by itself."""
    device = training.setting.place.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        copy = models.build(training.recipe.model, training.setting.task)
    copy.load_state_dict(training.model.state_dict())
    return copy.to(device)


def twin(training: Training) -> Training:
    """The same training on this process alone, to try things on."""
    place = Place(training.setting.place.device)
    model = translated(copied(training), training.recipe)
    alone = prepare(training.recipe, training.splits, place, model, training.objective)
    transfer.set_frozen(alone.model, frozen=False)
    return alone


def state(training: Training) -> dict[str, Any]:
    """All that a checkpoint must hold; every process takes part, to tell its random state."""
    place = training.setting.place
    return {
        "recipe": config.plain(training.recipe),
        "task": {name: list(value) if isinstance(value, tuple) else value
                 for name, value in asdict(training.setting.task).items()},
        "model": training.model.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "schedule": {"part_done": training.part_done},
        "scaler": training.scaler.state_dict(),
        "random": ddp.gathered(_random_state(place.device), place),
        "sampler": {"epoch": training.epoch, "done": training.done, "loss_sum": training.loss_sum.item()},
        "history": training.history,
        "stages": training.stages,
        "best": training.best,
    }  # fmt: skip


def restore(training: Training, content: dict[str, Any], place: str) -> None:
    """Go on where a checkpoint was written; PlanError if it is of another recipe."""
    differing = _differing(content["recipe"], config.plain(training.recipe))
    if differing:
        raise PlanError(
            f"{place}: is of another recipe, which differs in {', '.join(differing)}; "
            f"go on with that recipe, or choose another folder"
        )
    starts.load(training.model, content["model"], place)
    training.optimiser.load_state_dict(content["optimiser"])
    training.scaler.load_state_dict(content["scaler"])
    training.epoch, training.done = content["sampler"]["epoch"], content["sampler"]["done"]
    training.loss_sum.fill_(content["sampler"]["loss_sum"])
    training.history, training.stages = content["history"], content["stages"]
    training.best = content["best"]
    _set_random_state(content["random"], training.setting.place)


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = (before.keys() | now.keys()) - MAY_DIFFER
    return sorted(name for name in names if before.get(name) != now.get(name))


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_random_state(states: list[dict[str, Tensor]], place: Place) -> None:
    """Take up this process' own random state; another number of processes draws on from the first's."""
    own = states[place.rank if len(states) == place.world else 0]
    torch.set_rng_state(own["cpu"])
    if place.device.type == "cuda" and "cuda" in own:
        torch.cuda.set_rng_state(own["cuda"], place.device)


@contextmanager
def numerics(recipe: Recipe) -> Iterator[None]:
    """Torch's own switches as the recipe wants them, and as they were afterwards."""
    precision, exact = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    tried = torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("high" if recipe.precision == "tf32" else "highest")
    torch.use_deterministic_algorithms(recipe.deterministic)
    torch.backends.cudnn.benchmark = not recipe.deterministic
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(exact)
        torch.backends.cudnn.benchmark = tried


def feed(training: Training) -> Iterator[data.Batch]:
    """What is left of the epoch, part by part."""
    training.batches.go_to(training.epoch, training.done)
    setting = training.setting
    return iter(data.loader(training.splits.train, training.batches, setting.workers, pinned=setting.pinned))
