"""What a sweep measures: the choices of the user, and where there are none, what tells most in the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from sim.errors import PlanError, hint
from sim.profile import Layout, write
from train.measure import device as devices
from train.measure import fingerprint
from train.measure.case import Case
from train.measure.checkpoint import Checkpoint
from train.measure.collectives import Collectives
from train.measure.distributed import Distributed
from train.measure.host_to_device import HostToDevice
from train.measure.inference import Inference
from train.measure.loader import Loader
from train.measure.processes import Group
from train.measure.sizes import FULL_CPU, FULL_CUDA, QUICK_CPU, QUICK_CUDA, Size, Variant
from train.measure.storage import Storage
from train.measure.subject import Subject, described
from train.measure.sweep import Sweep
from train.measure.training import Training

if TYPE_CHECKING:
    from sim.perf.operators import Model
    from sim.profile import Precision
    from train.measure.device import Device
    from train.measure.job import Job

THINGS = (
    "training",
    "inference",
    "loader",
    "storage",
    "checkpoint",
    "host_to_device",
    "distributed",
    "collectives",
)

FLOPS_PER_MAC = 6
"""Of a training step: a multiplication and an addition, once forward and twice backward."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for; empty where the choice is left to us."""

    quick: bool = False
    models: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    precisions: tuple[Precision, ...] = ()
    layouts: tuple[Layout, ...] = ()
    world_sizes: tuple[int, ...] = ()
    only: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a sweep of this device, with the files that they need in this folder."""

    device: Device
    wanted: Wanted
    folder: Path

    @property
    def size(self) -> Size:
        """How much is measured of each thing."""
        if self.device.kind == "cpu":
            return QUICK_CPU if self.wanted.quick else FULL_CPU
        return QUICK_CUDA if self.wanted.quick else FULL_CUDA

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The models."""
        return tuple(map(Subject.parse, self.wanted.models or self.size.models))

    @property
    def drawn(self) -> tuple[Subject, ...]:
        """Drawn networks; none where the user chose models."""
        return () if self.wanted.models else tuple(map(Subject.parse, self.size.drawn))

    @property
    def batches(self) -> tuple[int, ...]:
        """Samples on each device."""
        return self.wanted.batches or self.size.batches

    @property
    def world_sizes(self) -> tuple[int, ...]:
        """Numbers of devices that train together: 1, 2, 4 and so on, as far as there are devices."""
        most = devices.count(self.device.kind)
        return self.wanted.world_sizes or tuple(n for n in (1, 2, 4, 8) if n <= most)

    def jobs(self) -> list[Job]:
        """All that is to be measured; PlanError if it cannot be."""
        self._check()
        makers = {
            "training": self._training,
            "inference": self._inference,
            "loader": self._loader,
            "storage": self._storage,
            "checkpoint": self._checkpoint,
            "host_to_device": self._host_to_device,
            "distributed": self._distributed,
            "collectives": self._collectives,
        }
        return [job for thing in self.wanted.only or THINGS for job in makers[thing]()]

    @property
    def notes(self) -> list[str]:
        """What is not measured although it would be elsewhere, in sentences."""
        chosen = {variant[0] for variant in self._variants()}
        return [
            f"{precision} is not measured: this CPU has no instructions for it. --precisions {precision} does"
            " so all the same"
            for precision in dict.fromkeys(variant[0] for variant in self.size.variants)
            if not self.wanted.precisions and not self.wanted.layouts and precision not in chosen
        ]

    def sweep(self, out: Path, command: str) -> Sweep:
        """The sweep of these jobs, which keeps what it knows in a file."""
        return Sweep(
            self.jobs(),
            fingerprint.of(self.device),
            self.described(),
            passes=self.size.passes,
            total_s=self.size.total_s,
            keep=lambda known: write(known, out),
            seed=self.wanted.seed,
            quick=self.wanted.quick,
            command=command,
        )

    def described(self) -> dict[str, Model]:
        """The operators of each model; one that cannot run at its size has none, and its rows say why."""
        together = tuple(map(Subject.parse, self.wanted.models or self.size.distributed))
        found = {}
        for subject in dict.fromkeys(self.subjects + self.drawn + together):
            with suppress(RuntimeError, ValueError):
                found[str(subject)] = described(subject)
        return found

    def _check(self) -> None:
        choices = {"only": THINGS, "precisions": self.device.precisions, "layouts": get_args(Layout)}
        for option, known in choices.items():
            for word in getattr(self.wanted, option):
                if word not in known:
                    raise PlanError(f'--{option}: "{word}" cannot be measured here; {hint(word, known)}')
        most = devices.count(self.device.kind)
        too_many = [size for size in self.wanted.world_sizes if self.device.kind == "cuda" and size > most]
        if too_many:
            raise PlanError(f"--world-sizes: there are {most} GPUs here, not {max(too_many)}")

    def _cases(self) -> Iterator[Case]:
        """Every model with every batch and, if the user left them to us, the precisions that tell most."""
        for subject in self.subjects:
            for precision, layout, every in self._variants():
                if layout == "nhwc" and subject.takes_tokens:
                    continue
                for batch in self.batches[::every]:
                    if self._is_short(subject, batch):
                        yield Case(subject, batch, precision, layout)
        for subject in self.drawn:
            for precision, layout, _ in self._variants():
                for batch in self.size.drawn_batches:
                    yield Case(subject, batch, precision, layout)

    def _is_short(self, subject: Subject, batch: int) -> bool:
        """Whether the user wants the batch, or a step is short enough to be repeated."""
        model = self.described().get(str(subject))
        if self.wanted.batches or model is None:
            return True
        return FLOPS_PER_MAC * batch * model.macs <= self.size.most_flops

    def _variants(self) -> tuple[Variant, ...]:
        if not self.wanted.precisions and not self.wanted.layouts:
            every = self.size.variants
            return tuple(variant for variant in every if devices.computes(self.device, variant[0]))
        precisions: tuple[Precision, ...] = self.wanted.precisions or ("fp32",)
        layouts: tuple[Layout, ...] = self.wanted.layouts or ("nchw",)
        return tuple((precision, layout, 1) for precision in precisions for layout in layouts)

    def _training(self) -> Iterator[Job]:
        return (Training(case, self.device) for case in self._cases())

    def _inference(self) -> Iterator[Job]:
        precision, layout, _ = self._variants()[0]
        for subject in self.subjects:
            for batch in self.batches[:: max(1, len(self.batches) // 2)]:
                if self._is_short(subject, batch):
                    yield Inference(Case(subject, batch, precision, layout), self.device)

    def _loader(self) -> Iterator[Job]:
        most = devices.cores()
        workers = sorted({0, 1, *(n for n in (2, 4, 8, 16, 32) if n <= most)})
        return (Loader(count, self.size.images, self.folder) for count in workers)

    def _storage(self) -> Iterator[Job]:
        yield Storage(self.folder, self.size.file_bytes, "sequential", self.wanted.seed)
        yield Storage(self.folder, self.size.file_bytes, "random", self.wanted.seed)

    def _checkpoint(self) -> Iterator[Job]:
        chosen = self.subjects[:: max(1, len(self.subjects) // 3)]
        return (Checkpoint(subject, self.device, self.folder) for subject in chosen)

    def _host_to_device(self) -> Iterator[Job]:
        for pinned in (False, True) if self.device.kind == "cuda" else (False,):
            for size_bytes in self.size.copied_bytes:
                yield HostToDevice(size_bytes, self.device, pinned)

    def _groups(self) -> Iterator[Group]:
        """A group for each number of devices; on a CPU its processes share the cores as the largest would."""
        threads = None
        if self.device.kind == "cpu":
            threads = max(1, devices.cores() // max(self.world_sizes))
        return (Group(self.device.kind, size, threads) for size in self.world_sizes)

    def _distributed(self) -> Iterator[Job]:
        names = self.wanted.models or self.size.distributed
        batches = self.wanted.batches or self.size.distributed_batches
        precision, layout, _ = self._variants()[0]
        cases = tuple(
            Case(Subject.parse(name), batch, precision, layout) for name in names for batch in batches
        )
        return (Distributed(group, cases) for group in self._groups() if max(self.world_sizes) > 1)

    def _collectives(self) -> Iterator[Job]:
        for group in self._groups():
            if group.size > 1:
                yield Collectives(group, self.size.collective_bytes, self.wanted.seed)
