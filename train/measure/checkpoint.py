"""Checkpoints: model and optimiser written until they are on the disk, and read back from there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from sim.errors import PlanError
from sim.profile import CheckpointRow
from train import checkpoint
from train.measure.case import Case, TrainingStep, why_not
from train.measure.storage import forget

if TYPE_CHECKING:
    from train.measure.device import Device
    from train.measure.subject import Subject


Operation = Literal["write", "restore"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Checkpoints of one model in this folder."""

    subject: Subject
    device: Device
    folder: Path

    def measure(self, budget_s: float, *, first: bool) -> Iterator[CheckpointRow]:  # noqa: ARG002 - as long as it takes
        """Two rows: write and restore."""
        fields: dict[Operation, dict[str, Any]]
        try:
            times_s, size_bytes = self._measured()
            fields = {name: {"time_s": (time_s,), "pass_index": (0,)} for name, time_s in times_s.items()}
        except (RuntimeError, ValueError, MemoryError, OSError, PlanError) as error:
            fields, size_bytes = dict.fromkeys(("write", "restore"), why_not(error)), 1
        self.device.tidy()
        for operation, found in fields.items():
            yield CheckpointRow(operation=operation, model=str(self.subject), size_bytes=size_bytes, **found)

    def _measured(self) -> tuple[dict[Operation, float], int]:
        """Seconds of each operation, and bytes of the file."""
        step = TrainingStep(Case(self.subject, 2), self.device)
        step()
        with TemporaryDirectory(dir=self.folder, prefix=".dcplan-checkpoint-") as folder:
            path = Path(folder) / "checkpoint.pt"
            return {"write": self._written_s(step, path), "restore": self._restored_s(step, path)}, _size(
                path
            )

    def _written_s(self, step: TrainingStep, path: Path) -> float:
        self.device.synchronise()
        start_s = time.perf_counter()
        checkpoint.save(path, {"model": step.module.state_dict(), "optimiser": step.optimizer.state_dict()})
        return time.perf_counter() - start_s

    def _restored_s(self, step: TrainingStep, path: Path) -> float:
        """From the disk, as after a failure: what the page cache holds of the file is dropped first."""
        with path.open("rb") as file:
            forget(file.fileno())
        self.device.synchronise()
        start_s = time.perf_counter()
        content = checkpoint.tensors(path)
        step.module.load_state_dict(content["model"])
        step.optimizer.load_state_dict(content["optimiser"])
        self.device.synchronise()
        return time.perf_counter() - start_s


def _size(path: Path) -> int:
    return path.stat().st_size
