"""Compression: remove the smallest weights, train what is left a little, and store it in 8 bits.

Zeros are not stored: a removed weight costs one bit that says so. They are computed with all the same, as
there are no kernels for scattered zeros, so pruning saves space and not time; the figures show it.
"""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from train import checkpoint, int8, loop, models, savings
from train.choices.schedules import Cosine
from train.config import Compress
from train.savings import Figures
from train.training import Training, copied, prepare

FILE = "compressed.pt"
LOOKED_AT = 10
"""Batches that tell how far activations reach."""


def run(training: Training, wanted: Compress, folder: Path) -> list[Figures]:
    """The trained model made smaller, written to a folder, and its figures before and after each change.

    All processes train what is left; the first alone measures and writes.
    """
    leads = training.setting.place.leads
    found = [savings.figures("as trained", training)] if leads else []
    content = packed(training.model.state_dict(), {}, {})
    if wanted.prune:
        training = pruned(training, wanted)
        content = packed(training.model.state_dict(), training.masks, {})
        found += [savings.figures(f"{wanted.prune:.0%} pruned", training, content)] if leads else []
    if wanted.int8 and leads:
        small = int8.quantised(copied(training), _inputs(training))
        content = packed(training.model.state_dict(), training.masks, _parts(small))
        found.append(_figures(small, "pruned, int8" if wanted.prune else "int8", training, content))
    if leads:
        checkpoint.save(folder / FILE, content)
    return found


def smallest(model: nn.Module, part: float) -> dict[str, Tensor]:
    """For the weights of all layers: ones, and zeros for the smallest part of them, signs apart."""
    weights = {name: value.detach().abs() for name, value in model.named_parameters() if value.dim() > 1}
    every = torch.cat([value.flatten() for value in weights.values()])
    count = round(part * len(every))
    limit = every.kthvalue(count).values if count else every.new_tensor(-1.0)
    return {name: (value > limit).to(value) for name, value in weights.items()}


def pruned(training: Training, wanted: Compress) -> Training:
    """The training of a model without its smallest weights, for a few epochs more."""
    changed = {
        "epochs": max(1, wanted.retrain_epochs),
        "schedule": Cosine(),
        "early_stopping": None,
        "transfer": None,
    }
    recipe = training.recipe.model_copy(update=changed)
    after = prepare(recipe, training.splits, training.setting.place, training.model, training.objective)
    after.masks = smallest(after.model, wanted.prune)
    loop.keep_pruned(after)
    if wanted.retrain_epochs:
        loop.fit(after)
    return after


def packed(
    weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], parts: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, Any]:
    """Weights as they are stored: with their scale if in 8 bits, and without zeros if pruned."""
    stored: dict[str, Any] = {}
    for name, value in weights.items():
        whole, scales = parts.get(name, (value, None))
        entry: dict[str, Any] = {"values": whole.cpu(), "shape": list(whole.shape)}
        if scales is not None:
            entry["scales"] = scales.cpu()
        if name in masks:
            kept = masks[name].bool().cpu().flatten()
            entry |= {"values": entry["values"].flatten()[kept], "kept": _bits(kept)}
        stored[name] = entry
    return stored


def unpacked(stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that were stored, as a model takes them."""
    return {name: _widened(entry) for name, entry in stored.items()}


def _widened(entry: Mapping[str, Any]) -> Tensor:
    values: Tensor = entry["values"]
    if "kept" in entry:
        whole = values.new_zeros(torch.Size(entry["shape"])).flatten()
        whole[_from_bits(entry["kept"], len(whole))] = values
        values = whole
    values = values.view(entry["shape"])
    if "scales" not in entry:
        return values
    scales: Tensor = entry["scales"]
    return values.float() * scales.view(-1, *[1] * (values.dim() - 1))


def _bits(flags: Tensor) -> Tensor:
    """Eight flags a byte."""
    padded = torch.nn.functional.pad(flags.to(torch.uint8), (0, -len(flags) % 8)).view(-1, 8)
    return (padded << torch.arange(8)).sum(1).to(torch.uint8)


def _from_bits(packed_flags: Tensor, count: int) -> Tensor:
    return ((packed_flags[:, None] >> torch.arange(8)) & 1).bool().flatten()[:count]


def _inputs(training: Training) -> list[Tensor]:
    """A few batches of training data, as the model sees them."""
    split = training.splits.train
    starts = range(0, len(split), training.setting.batch)
    batches = (
        split.__getitems__(range(start, min(start + training.setting.batch, len(split)))) for start in starts
    )
    return [loop.preprocess(batch, training.setting)[0] for batch in islice(batches, LOOKED_AT)]


def _parts(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights in 8 bits and their scales, by the names that they had before."""
    return {
        f"{name}.weight": (torch.as_tensor(layer.weight), layer.scales)
        for name, layer in model.named_modules()
        if isinstance(layer, int8.Int8)
    }


def _figures(model: nn.Module, stage: str, training: Training, stored: object) -> Figures:
    """The figures of a model in 8 bits, which cannot be trained."""
    return Figures(
        stage,
        savings.accuracy(model, training),
        models.parameters(training.model),
        savings.stored_bytes(stored),
        None,
        savings.inference_rate(model, training),
    )
