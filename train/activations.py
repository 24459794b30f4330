"""Activation checkpointing: keep only what enters a block, and compute the rest again in the backward pass.

A step then takes about a third longer and far less memory (Chen et al., 2016).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from sim.errors import PlanError


def recomputed(model: nn.Module) -> nn.Module:
    """A model that computes the activations inside its blocks again instead of keeping them.

    Raises PlanError for a model without such blocks.
    """
    found = list(blocks(model))
    if not found:
        raise PlanError("activation_checkpointing: this model has no blocks to compute again; leave it out")
    for block in found:
        _recompute(block)
    return model


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The parts of a model worth computing again: the outermost entries of its lists that have entries too.

    A list of single layers is one block.
    """
    for child in model.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            inner = [entry for entry in child if list(entry.children())]
            if inner:
                yield from inner
            elif isinstance(child, nn.Sequential):
                yield child
        else:
            yield from blocks(child)


def _recompute(block: nn.Module) -> None:
    inside = block.forward

    def forward(features: Tensor) -> Tensor:
        """The same features; in training, what leads to them is computed twice."""
        if not block.training:
            outside: Tensor = inside(features)
            return outside
        again: Tensor = checkpoint(inside, features, use_reentrant=False, context_fn=lambda: _twice(block))
        return again

    block.forward = forward


def _twice(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first computation and around the second, which must not count for the running statistics."""
    return nullcontext(), _uncounted(block)


@contextmanager
def _uncounted(block: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch normalisation as they are."""
    layers = [layer for layer in block.modules() if isinstance(layer, _BatchNorm)]
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        layer.num_batches_tracked = None
    try:
        yield
    finally:
        for layer, (momentum, batches) in zip(layers, kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, batches
