"""What is learnt, cut into a training, a validation and a test split, and served in batches.

The order of each epoch follows from the seed alone, and a batch is the same whatever the number of devices
that share it, so a training can be taken up in the middle of an epoch, and on other hardware.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sim.errors import PlanError

Batch = tuple[Tensor, Tensor]
"""Inputs as they are stored, and labels."""


class Labelled(Protocol):
    """Samples that can be fetched by position."""

    labels: Tensor

    def inputs(self, positions: Tensor) -> Tensor:
        """The inputs at these positions, stacked."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a model must fit: the shape of a sample, the number of classes, and how inputs are normalised."""

    shape: tuple[int, ...]
    classes: int
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def images(self) -> bool:
        """Whether samples are images of (channels, height, width), not sequences of tokens."""
        return len(self.shape) == 3  # noqa: PLR2004 - see above


class Split(Dataset[Batch]):
    """Chosen samples of a source, with their labels counted from 0."""

    def __init__(self, source: Labelled, positions: Tensor, labels: Tensor) -> None:
        self.source = source
        self.positions = positions
        self.labels = labels

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Batch:
        """One sample, as a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch at once: much faster than sample by sample."""
        chosen = torch.as_tensor(indices)
        return self.source.inputs(self.positions[chosen]), self.labels[chosen]

    def part(self, indices: Tensor) -> "Split":
        """A split of these samples."""
        return Split(self.source, self.positions[indices], self.labels[indices])


@dataclass(frozen=True, slots=True)
class Splits:
    """The samples to learn from, to watch progress with, and to judge the result by."""

    task: Task
    train: Split
    validation: Split
    test: Split


def whole(source: Labelled, classes: Sequence[int] | None = None) -> Split:
    """All samples of a source, or those of some classes, which become 0, 1, ... in the order given."""
    if classes is None:
        return Split(source, torch.arange(len(source.labels)), source.labels.long())
    wanted = torch.tensor(classes)
    positions = torch.isin(source.labels.long(), wanted).nonzero().flatten()
    matches = source.labels[positions].long()[:, None] == wanted
    return Split(source, positions, matches.long().argmax(dim=1))


def held_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """A split to train on and one to validate with, the same for the same seed."""
    order = torch.randperm(len(split), generator=generator(seed))
    held = round(fraction * len(split))
    return split.part(order[held:].sort().values), split.part(order[:held].sort().values)


def generator(*seeds: int) -> torch.Generator:
    """Random numbers for one purpose, told apart by whole numbers such as the seed and the epoch."""
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 1_000_003 + seed) % 2**63
    return torch.Generator().manual_seed(mixed)


class Batches(Sampler[list[int]]):
    """The shares of one process in the batches of an epoch, each in `parts` to be computed one by one.

    Batches are whole: samples that do not fill one are left out, others in each epoch.
    """

    def __init__(self, samples: int, batch: int, parts: int, seed: int, rank: int, world: int) -> None:
        if batch % (parts * world):
            raise PlanError(f"batch: {batch} does not divide into {world} processes x {parts} parts")
        if samples < batch:
            raise PlanError(f"batch: {samples} training samples do not fill a batch of {batch}")
        self.samples, self.batch, self.parts, self.seed = samples, batch, parts, seed
        self.share = batch // world
        self.first = rank * self.share
        self.epoch = 0
        self.done = 0

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.samples // self.batch

    def go_to(self, epoch: int, done: int) -> None:
        """Stand in an epoch after so many batches."""
        self.epoch, self.done = epoch, done

    def __len__(self) -> int:
        return (self.steps - self.done) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.samples, generator=generator(self.seed, self.epoch)).tolist()
        size = self.share // self.parts
        for step in range(self.done, self.steps):
            start = step * self.batch + self.first
            for at in range(start, start + self.share, size):
                yield order[at : at + size]


class InOrder(Sampler[list[int]]):
    """The share of one process in all samples, in their order."""

    def __init__(self, samples: int, batch: int, rank: int = 0, world: int = 1) -> None:
        self.positions = range(rank, samples, world)
        self.batch = batch

    def __len__(self) -> int:
        return math.ceil(len(self.positions) / self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.positions), self.batch):
            yield list(self.positions[start : start + self.batch])


def loader(split: Split, batches: Sampler[list[int]], workers: int, *, pinned: bool) -> DataLoader[Batch]:
    """Serve batches of a split.

    It draws random numbers of its own, so that those of the training do not depend on it.
    """
    return DataLoader(
        split,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=pinned and torch.cuda.is_available(),
        collate_fn=_as_it_is,
        generator=torch.Generator(),
    )


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401 - splits give whole batches already
    return batch
