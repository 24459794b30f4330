"""Checkpoints: model and optimiser written until they are on the disk, and read back from there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import torch

from sim.profile import CheckpointRow
from train.measure.case import Case, TrainingStep, why_not
from train.measure.job import passes
from train.measure.storage import forget

if TYPE_CHECKING:
    from train.measure.device import Device
    from train.measure.subject import Subject


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Checkpoints of one model in this folder."""

    subject: Subject
    device: Device
    folder: Path

    def measure(self, budget_s: float, *, first: bool) -> Iterator[CheckpointRow]:  # noqa: ARG002 - as long as it takes
        """Two rows: write and restore."""
        try:
            step = TrainingStep(Case(self.subject, 2), self.device)
            step()
            with TemporaryDirectory(dir=self.folder, prefix=".dcplan-checkpoint-") as folder:
                path = Path(folder) / "checkpoint.pt"
                times_s = {"write": self._written_s(step, path), "restore": self._restored_s(step, path)}
                size_bytes = path.stat().st_size
        except (RuntimeError, ValueError, MemoryError, OSError) as error:
            yield from (self._row(operation, 1, **why_not(error)) for operation in ("write", "restore"))
            return
        for operation, time_s in times_s.items():
            yield self._row(operation, size_bytes, time_s=(time_s,), pass_index=passes([time_s]))

    def _row(
        self, operation: Literal["write", "restore"] | str, size_bytes: int, **fields: Any
    ) -> CheckpointRow:
        return CheckpointRow(operation=operation, model=str(self.subject), size_bytes=size_bytes, **fields)

    def _written_s(self, step: TrainingStep, path: Path) -> float:
        self.device.synchronise()
        start_s = time.perf_counter()
        state = {"model": step.module.state_dict(), "optimizer": step.optimizer.state_dict()}
        with path.open("wb") as out:
            torch.save(state, out)
            out.flush()
            os.fsync(out.fileno())
        return time.perf_counter() - start_s

    def _restored_s(self, step: TrainingStep, path: Path) -> float:
        """From the disk, as after a failure: what the page cache holds of the file is dropped first."""
        with path.open("rb") as file:
            forget(file.fileno())
        self.device.synchronise()
        start_s = time.perf_counter()
        state = torch.load(path, map_location=self.device.torch, weights_only=True)
        step.module.load_state_dict(state["model"])
        step.optimizer.load_state_dict(state["optimizer"])
        self.device.synchronise()
        return time.perf_counter() - start_s
