"""One configuration of a model, and the step that is measured of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import torch

from train.measure.device import Device, memory_format
from train.measure.subject import Subject
from train.memory import is_exhausted
from train.timing import unmarked

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sim.profile import Layout, Phase, Precision
    from train.timing import Mark

HOST_BATCHES = 3
"""Different batches that a step finds in the memory of the host, one after the other."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model, how many samples each device gets, and how it computes."""

    subject: Subject
    batch: int
    precision: Precision = "fp32"
    layout: Layout = "nchw"

    def fields(self) -> dict[str, Any]:
        """What a row says of the case."""
        return {
            "model": str(self.subject),
            "batch_per_device": self.batch,
            "precision": self.precision,
            "layout": self.layout,
        }

    def module(self, device: Device) -> nn.Module:
        """The model on the device, its weights laid out as the images."""
        torch.manual_seed(0)
        module = self.subject.build().to(device.torch)
        return module.to(memory_format=memory_format(self.layout))

    def batches(self, device: Device) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches in the memory of the host, again and again."""
        drawn = [self.subject.batch(self.batch) for _ in range(HOST_BATCHES)]
        laid_out = [(self._laid_out(inputs), labels) for inputs, labels in drawn]
        if device.kind == "cuda":
            laid_out = [(inputs.pin_memory(), labels.pin_memory()) for inputs, labels in laid_out]
        return cycle(laid_out)

    def _laid_out(self, inputs: Tensor) -> Tensor:
        if self.subject.takes_tokens:
            return inputs
        return inputs.contiguous(memory_format=memory_format(self.layout))


class TrainingStep:
    """One step of training as the trainer takes it, with nothing else in the way."""

    def __init__(
        self, case: Case, device: Device, wrap: Callable[[nn.Module], nn.Module] | None = None
    ) -> None:
        self.case = case
        self.device = device
        module = case.module(device).train()
        self.module = module if wrap is None else wrap(module)
        self.after_backward: Phase = "backward" if wrap is None else "all_reduce"
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=1e-3, momentum=0.9)
        self.scaler = torch.amp.GradScaler(device.kind, enabled=case.precision == "fp16")
        self.batches = case.batches(device)

    def __call__(self, mark: Mark = unmarked) -> None:
        """Data, copy, forward, backward, update; each phase is marked when it ends."""
        inputs, labels = next(self.batches)
        mark("data")
        inputs = inputs.to(self.device.torch, non_blocking=True)
        labels = labels.to(self.device.torch, non_blocking=True)
        mark("copy")
        self.optimizer.zero_grad(set_to_none=True)
        with self.device.computing_in(self.case.precision):
            loss = self.case.subject.loss(self.module(inputs), labels)
        mark("forward")
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        mark(self.after_backward)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        mark("optimiser")

    def held(self) -> Iterator[Tensor]:
        """The tensors that are in memory between two steps, gradients left out: the next step drops them."""
        self.optimizer.zero_grad(set_to_none=True)
        yield from self.module.parameters()
        yield from self.module.buffers()
        for state in self.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, torch.Tensor))
        yield from next(self.batches) if self.device.kind == "cpu" else ()


class InferencePass:
    """One forward pass without gradients, from a batch in the memory of the host."""

    def __init__(self, case: Case, device: Device) -> None:
        self.case = case
        self.device = device
        self.module = case.module(device).eval()
        self.batches = case.batches(device)

    @torch.inference_mode()
    def __call__(self, mark: Mark = unmarked) -> None:
        """Take the pass."""
        inputs, _ = next(self.batches)
        inputs = inputs.to(self.device.torch, non_blocking=True)
        with self.device.computing_in(self.case.precision):
            self.module(inputs)
        mark("forward")

    def held(self) -> Iterator[Tensor]:
        """The tensors that are in memory between two passes."""
        yield from self.module.parameters()
        yield from self.module.buffers()
        yield from next(self.batches) if self.device.kind == "cpu" else ()


def why_not(error: Exception) -> dict[str, Any]:
    """Fields of a row for a configuration that did not run."""
    told = str(error).strip() or type(error).__name__
    status = "out_of_memory" if is_exhausted(error) else "failed"
    return {"status": status, "reason": told.splitlines()[0][:200]}
