"""How long a network that learns from images trains on so many GPUs, each with its part of every batch.

The step of one GPU comes from a fitted device (``sim.perf.device``), the adding up of gradients from what was
measured on so many such GPUs, or else from the links of the catalog (``sim.perf.collectives``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from sim import catalog, units, words
from sim.catalog.devices import device, device_names, device_of
from sim.catalog.links import collective_link, fabric_link
from sim.catalog.machines import USUAL_FABRIC
from sim.errors import PlanError
from sim.estimate import DRAW, HOST_SHARE, HOUR_S, LARGEST_FLEET, PUE
from sim.perf.collectives import fastest_s
from sim.perf.device import Device, Memory, Prediction, Setting, gradient_bytes, training_step
from sim.perf.operators import Model
from sim.perf.step_time import Layout, Precision, Step, parts_s
from sim.perf.traffic import CHECKPOINT_BYTES_MOMENTUM, Traffic, image_bytes

RECKONED: Final = Memory(
    fixed_bytes=1.2e9, bytes_per_parameter=14.0, activations_kept=0.7, spread=0.25, quality=None
)
"""Where no peak memory was measured: context and workspaces of cuDNN, weights with gradient, momentum and a
half-precision copy (4 + 4 + 4 + 2 bytes), and of what the forward pass writes all but what activations
change in place (two of three in a block of convolution, normalisation, ReLU). With it ResNet-50 with 256
images needs
15 GB; NVIDIA's runs of that on V100 with 16 GB were done."""
MACS_OF_A_STEP: Final = 3.0
"""Forward pass, gradients of activations, gradients of weights: each as many multiply-accumulates."""


@dataclass(frozen=True, slots=True)
class NetworkJob:
    """A network, what it learns from in one step, and on what."""

    model: Model
    device: Device
    gpus: int
    batch: int
    """Images of a step on each GPU."""
    precision: Precision
    layout: Layout | None = None
    gpus_per_node: int = 8
    fabric: float = USUAL_FABRIC
    like: str | None = None
    """The device that stands in for a GPU without measurements."""

    @property
    def setting(self) -> Setting:
        """What the device does in that precision; PlanError if it was not measured in it."""
        return self.device.setting(self.precision, self.layout)

    @property
    def nodes(self) -> int:
        """Nodes of the job."""
        return math.ceil(self.gpus / self.gpus_per_node)


@dataclass(frozen=True, slots=True)
class NetworkEstimate:
    """What a job takes."""

    job: NetworkJob
    step: Prediction
    alone: Prediction
    """The step of one GPU by itself."""
    all_reduce_s: float

    @property
    def images_per_s(self) -> float:
        """Of all GPUs together."""
        return self.job.batch * self.job.gpus / self.step.step_s

    @property
    def mfu(self) -> float | None:
        """Model FLOP/s over the dense peak of the data sheet; None for a device that has none."""
        if self.job.device.gpu is None:
            return None
        known = catalog.gpu(self.job.device.gpu)
        peaks = {"fp32": known.fp32, "tf32": known.tf32, "fp16": known.fp16, "bf16": known.bf16 or known.fp16}
        peak = peaks[self.job.precision]
        flops = 2 * MACS_OF_A_STEP * self.job.model.macs * self.images_per_s / self.job.gpus
        return flops / peak if peak else None

    @property
    def memory_bytes(self) -> float:
        """Peak memory of a GPU."""
        job = self.job
        return (job.setting.peak_memory or RECKONED).peak_bytes(Step(job.model, job.batch, job.precision))

    @property
    def verdict(self) -> str:
        """``fits``, ``does not fit``, or ``unknown`` where nothing says how much memory there is."""
        if self.job.device.gpu is None:
            return "unknown"
        return "fits" if self.memory_bytes <= catalog.gpu(self.job.device.gpu).memory else "does not fit"

    def steps(self, images: float) -> int:
        """Steps for so many images."""
        return math.ceil(images / (self.job.batch * self.job.gpus))

    def time_s(self, images: float) -> float:
        """Seconds of training, without failures and with images that are always there."""
        return self.steps(images) * self.step.step_s

    def energy_kwh(self, images: float) -> float | None:
        """Energy at the meter of the building, from the rated power; None without a data sheet."""
        if self.job.device.gpu is None:
            return None
        watts = catalog.gpu(self.job.device.gpu).power * self.job.gpus * DRAW * HOST_SHARE * PUE
        return self.time_s(images) / HOUR_S * watts / 1e3

    def traffic(self) -> Traffic:
        """What a step and a checkpoint ask of network and storage."""
        job = self.job
        size = gradient_bytes(job.model)
        pixels = job.model.input_shape[-1]
        return Traffic(
            data_bytes=2 * (job.gpus - 1) / job.gpus * size,
            input_bytes=image_bytes(pixels) * job.batch * job.gpus,
            checkpoint_bytes=CHECKPOINT_BYTES_MOMENTUM * job.model.parameters + 4.0 * job.model.buffers,
            weight_bytes=4.0 * (job.model.parameters + job.model.buffers),
        )

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self.step.step_s

    def out_of_a_node(self) -> tuple[float, float]:
        """Bytes a second that a node sends to others at full speed: by rings, and nothing to all evenly."""
        job = self.job
        if job.nodes == 1:
            return 0.0, 0.0
        per_node = math.ceil(job.gpus / job.nodes)
        each = 2 * (job.nodes - 1) / job.nodes * gradient_bytes(job.model) / per_node
        return each * per_node / self.step.step_s, 0.0

    def where(self) -> dict[str, float]:
        """Seconds of a step by what they go to; they add up to the step."""
        job = self.job
        parts = parts_s(job.setting.logarithms, Step(job.model, job.batch, job.precision))
        told = {name.replace("_", " "): seconds for name, seconds in parts.items()}
        told["kernels, host and the rest"] = self.alone.step_s - sum(told.values())
        told["gradients and waiting for others"] = self.step.step_s - self.alone.step_s
        return {name: seconds for name, seconds in told.items() if seconds}


def network_device(gpu: str) -> tuple[Device, str | None]:
    """The device that ``--gpu`` names: a GPU of the catalog, a fitted device, or a file of one's own."""
    if Path(gpu).suffix in {".yaml", ".yml"}:
        return device(gpu), None
    if gpu in device_names():
        return device(gpu), None
    return device_of(gpu)


def gradients_s(job: NetworkJob) -> float:
    """Seconds of adding up the gradients of a step, on its own; PlanError where nothing tells.

    GPUs are spread evenly over as few nodes as hold them.
    """
    if job.gpus == 1:
        return 0.0
    size = gradient_bytes(job.model)
    measured = [link for link in job.device.links if (link.world, link.nodes) == (job.gpus, job.nodes)]
    if measured:
        return measured[0].all_reduce_s(size)
    if job.device.gpu is None:
        return job.device.link(job.gpus, job.nodes).all_reduce_s(size)
    per_node = math.ceil(job.gpus / job.nodes)
    near, far = collective_link(job.device.gpu), fabric_link(job.fabric)
    return float(np.asarray(fastest_s("all_reduce", size, per_node * job.nodes, per_node, near, far)))


def estimate_network(job: NetworkJob) -> NetworkEstimate:
    """What a job takes; PlanError where its precision or its number of devices was not measured."""
    together_s = gradients_s(job)
    alone, step = (
        training_step(
            job.model, job.device, job.batch, job.precision,
            layout=job.layout, world=world, nodes=nodes, all_reduce_s=together_s,
        )
        for world, nodes in ((1, 1), (job.gpus, job.nodes))
    )  # fmt: skip
    return NetworkEstimate(job, step, alone, together_s)


def smallest_network(job: NetworkJob, images: float, deadline_s: float) -> NetworkEstimate:
    """The fewest GPUs that are done in time, each with as many images in a step; PlanError if none is.

    1, 2, 4, ... GPUs of a node are tried, then whole nodes.
    """
    per_node = job.gpus_per_node
    inside = [1 << power for power in range(20) if 1 << power < per_node]
    tried = [*inside, *(per_node * nodes for nodes in range(1, LARGEST_FLEET // per_node + 1))]
    low, high = 0, len(tried) - 1

    def found(place: int) -> NetworkEstimate:
        return estimate_network(replace(job, gpus=tried[place]))

    if found(high).time_s(images) > deadline_s:
        raise PlanError(
            f"no fleet up to {words.count(tried[-1], 'GPU')} is done in {units.human_duration(deadline_s)};"
            f" that takes {units.human_duration(found(high).time_s(images))}"
        )
    while low < high:
        middle = (low + high) // 2
        if found(middle).time_s(images) <= deadline_s:
            high = middle
        else:
            low = middle + 1
    return found(low)
