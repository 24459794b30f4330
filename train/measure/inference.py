"""Forward passes without gradients, by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.profile import InferenceRow
from train.measure.case import Case, InferencePass, why_not
from train.measure.training import timed, traced

if TYPE_CHECKING:
    from train.measure.device import Device


@dataclass(frozen=True, slots=True)
class Inference:
    """Passes of one model on one device."""

    case: Case
    device: Device

    def measure(self, budget_s: float, *, first: bool) -> Iterator[InferenceRow]:
        """One row."""
        fields: dict[str, Any]
        try:
            self.device.prepare(self.case.precision)
            step = InferencePass(self.case, self.device)
            fixed = traced(step) if first else {}
            fields = fixed | timed(step, self.device, budget_s)
        except (RuntimeError, ValueError, MemoryError) as error:
            fields = why_not(error)
        self.device.tidy()
        yield InferenceRow(**self.case.fields(), **fields)
