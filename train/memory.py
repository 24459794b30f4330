"""When memory is not enough: tell that from other failures, and find the batch that would fit."""

from collections.abc import Callable

import torch

from sim.errors import PlanError
from train import loop
from train.training import Training

_ON_CPU = ("can't allocate memory", "not enough memory", "std::bad_alloc")
"""How torch says that the machine's own memory is used up."""


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory is used up, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _ON_CPU)


def largest(fits: Callable[[int], bool], batch: int) -> int | None:
    """The largest of a half, a quarter, ... of a batch that fits; None if not even one sample does.

    >>> largest(lambda batch: batch <= 20, 100), largest(lambda batch: False, 100)
    (12, None)
    """
    while batch > 1:
        batch //= 2
        if fits(batch):
            return batch
    return None


def advice(training: Training, fitting: Callable[[int], bool] | None = None) -> PlanError:
    """What to tell a user whose batch did not fit: the largest that does, and how to keep the recipe's.

    Whether so many samples fit is tried with ``fits`` unless another answer is given.
    """
    tried = training.setting.batch
    found = largest(fitting or (lambda batch: fits(training, batch)), tried)
    if found is None:
        return PlanError(
            "out of memory: not even one sample fits; choose a smaller model or smaller inputs, "
            "precision: bf16, or activation_checkpointing: true"
        )
    recipe = training.recipe
    parts = next(
        number
        for number in range(recipe.accumulate, recipe.batch + 1)
        if recipe.batch % (number * training.setting.place.world) == 0
        and recipe.batch // number // training.setting.place.world <= found
    )
    return PlanError(
        f"out of memory: {tried} samples at a time do not fit on the device, {found} do; "
        f"set accumulate to {parts} to keep the batch of {recipe.batch}, "
        f"or batch to {found * training.setting.place.world}"
    )


def fits(training: Training, batch: int) -> bool:
    """Whether a whole step with so many samples fits into memory; it changes the weights."""
    training.averaged = training.model
    training.optimiser.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    samples = list(range(min(batch, len(training.splits.train))))
    try:
        loop.step(training, [training.splits.train.__getitems__(samples)])
    except RuntimeError as error:
        if is_exhausted(error):
            return False
        raise
    return True
