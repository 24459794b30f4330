"""One process or many: the same training, with gradients averaged over all processes.

``torchrun`` starts the processes and tells each its rank; NCCL connects GPUs, gloo connects CPUs. Without
torchrun there is one process, and nothing here does anything.

Many processes learn what one would from the same batch, up to rounding, but for batch normalisation: each
process normalises with the mean and deviation of its own share of the batch, and the running statistics that
are kept are those of the first process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sim.errors import PlanError


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process computes, and which of all processes it is."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process talks and writes files."""
        return self.rank == 0


@contextmanager
def joined(wanted: str = "auto") -> Iterator[Place]:
    """This process' place among those that torchrun started; they part when the training is over."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = _device(wanted, int(os.environ.get("LOCAL_RANK", "0")))
    if world == 1:
        yield Place(device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Place(device, distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()


def _device(wanted: str, local_rank: int) -> torch.device:
    """The device of a name: cpu, cuda, cuda:1, or auto for a GPU where there is one."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PlanError(f'--device: "{wanted}" is not a device; choose auto, cpu, cuda or cuda:1') from None
    if device.type != "cuda":
        return device
    device = device if ":" in name else torch.device("cuda", local_rank)
    if not torch.cuda.is_available() or device.index >= torch.cuda.device_count():
        raise PlanError(f"--device: GPU {device.index} cannot be reached by torch; try --device cpu")
    torch.cuda.set_device(device)
    return device


def shared(model: nn.Module, place: Place) -> nn.Module:
    """A model whose gradients are averaged over all processes in the backward pass."""
    if place.world == 1:
        return model
    return DistributedDataParallel(model, [place.device] if place.device.type == "cuda" else None)


@contextmanager
def one_before_others(place: Place, *, wanted: bool) -> Iterator[None]:
    """If wanted, let the first process go ahead, so that the others find what it has fetched."""
    waits = wanted and place.world > 1
    if waits and not place.leads:
        distributed.barrier()
    yield
    if waits and place.leads:
        distributed.barrier()


@contextmanager
def undivided(model: nn.Module, *, last: bool) -> Iterator[None]:
    """Average gradients only once a batch, in the backward pass of its last part."""
    if last or not isinstance(model, DistributedDataParallel):
        yield
        return
    with model.no_sync():
        yield


def total(values: torch.Tensor, place: Place) -> torch.Tensor:
    """The sum of the values of all processes."""
    if place.world > 1:
        distributed.all_reduce(values)
    return values


def gathered(value: Any, place: Place) -> list[Any]:  # noqa: ANN401 - whatever a process has
    """The values of all processes, by rank."""
    if place.world == 1:
        return [value]
    values: list[Any] = [None] * place.world
    distributed.all_gather_object(values, value)
    return values
