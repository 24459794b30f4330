"""The device that is measured: how to wait for it, in which precision it computes, what memory it used."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import torch

from sim.errors import PlanError
from train import telemetry
from train.timing import Watch, cuda_watch, host_watch, timed_s

if TYPE_CHECKING:
    from sim.profile import Layout, Precision

Kind = Literal["cpu", "cuda"]
EMULATED = 4.0
"""Times as long as in 32 bits that a matrix product takes where its precision is emulated, at least."""
REDUCED: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Device:
    """A CPU with all its cores, or one GPU."""

    kind: Kind
    index: int = 0

    @property
    def torch(self) -> torch.device:
        """As torch calls it."""
        return torch.device("cpu") if self.kind == "cpu" else torch.device("cuda", self.index)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those that can be measured here; TF32 is a mode of NVIDIA's matrix units."""
        return ("fp32", "bf16", "fp16") if self.kind == "cpu" else ("fp32", "tf32", "bf16", "fp16")

    def synchronise(self) -> None:
        """Wait until all that was asked of the device is done."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.index)

    def watch(self) -> Watch:
        """What notes the phases of a step here."""
        return host_watch() if self.kind == "cpu" else cuda_watch()

    def meter(self) -> telemetry.Meter:
        """What reads power and clocks here."""
        if self.kind == "cpu":
            return telemetry.absent
        return telemetry.meter(f"GPU-{torch.cuda.get_device_properties(self.index).uuid}")

    @contextmanager
    def computing_in(self, precision: Precision) -> Iterator[None]:
        """Forward passes in this precision, by torch's automatic casting; weights stay in 32 bits."""
        dtype = REDUCED.get(precision)
        with torch.autocast(self.kind, dtype or torch.bfloat16, enabled=dtype is not None):
            yield

    def prepare(self, precision: Precision) -> None:
        """Set the switches that hold for all operators: TF32, and the search for the fastest convolution."""
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        if self.kind == "cuda":
            torch.cuda.set_device(self.index)
            torch.cuda.reset_peak_memory_stats(self.index)

    def peak_memory_bytes(self) -> float | None:
        """Most bytes of tensors since `prepare`, by torch's allocator; None for a CPU, which has no count."""
        return None if self.kind == "cpu" else float(torch.cuda.max_memory_allocated(self.index))

    def tidy(self) -> None:
        """Give back the memory of what was measured before."""
        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()


def find(kind: str) -> Device:
    """The device of this kind; PlanError where there is none."""
    if kind == "auto":
        return Device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cpu":
        return Device("cpu")
    if not torch.cuda.is_available():
        raise PlanError("torch finds no CUDA GPU here; measure the CPU with --device cpu")
    return Device("cuda")


def count(kind: Kind) -> int:
    """GPUs, or for a CPU the cores that this process may use."""
    return cores() if kind == "cpu" else torch.cuda.device_count()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def computes(device: Device, precision: Precision) -> bool:
    """Whether a device has instructions for a precision; a CPU without emulates it, many times slower.

    That is told by what a small matrix product takes, as no library says it of every CPU.
    """
    if device.kind == "cuda" or precision not in REDUCED:
        return True

    def multiplied_s(dtype: torch.dtype) -> float:
        square = torch.rand(256, 256).to(dtype)
        return min(timed_s(lambda: square @ square, 5, device.synchronise))

    return multiplied_s(REDUCED[precision]) < EMULATED * multiplied_s(torch.float32)


def memory_format(layout: Layout) -> torch.memory_format:
    """The layout of images as torch calls it."""
    return torch.channels_last if layout == "nhwc" else torch.contiguous_format
