"""Copies from the memory of the host to that of the device, by size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sim.profile import HostToDeviceRow
from train.measure.case import why_not
from train.measure.job import passes
from train.timing import Repeats, timed_s

if TYPE_CHECKING:
    from train.measure.device import Device


@dataclass(frozen=True, slots=True)
class HostToDevice:
    """Copies of one size, from memory that the system may move or, pinned, may not."""

    size_bytes: int
    device: Device
    pinned: bool = False

    def measure(self, budget_s: float, *, first: bool) -> Iterator[HostToDeviceRow]:  # noqa: ARG002 - nothing is fixed
        """One row."""
        try:
            times_s = self._times_s(budget_s)
        except (RuntimeError, MemoryError) as error:
            yield HostToDeviceRow(size_bytes=self.size_bytes, pinned=self.pinned, **why_not(error))
            return
        yield HostToDeviceRow(
            size_bytes=self.size_bytes, pinned=self.pinned, time_s=times_s, pass_index=passes(times_s)
        )

    def _times_s(self, budget_s: float) -> tuple[float, ...]:
        source = torch.ones(self.size_bytes, dtype=torch.uint8, pin_memory=self.pinned)
        target = torch.empty_like(source, device=self.device.torch)

        def copy() -> None:
            target.copy_(source, non_blocking=True)

        _, warm_s = timed_s(copy, 2, self.device.synchronise)
        return tuple(Repeats.within(budget_s, warm_s).time_s(copy, self.device.synchronise))
