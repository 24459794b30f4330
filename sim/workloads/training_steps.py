"""Durations that follow from what a job trains and on which fitted device: steps times the time of a step."""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sim import units
from sim.catalog.devices import device, device_names
from sim.catalog.machines import USUAL_FABRIC
from sim.catalog.networks import has_network, network, network_names
from sim.distributions import Counts, Floats
from sim.errors import hint
from sim.estimate_network import NetworkEstimate, NetworkJob, estimate_network
from sim.parts import BytesPerSecond, Part
from sim.perf.device import Prediction
from sim.perf.step_time import Layout, Precision


class TrainingSteps(Part):
    """Every job trains one network for so many steps; on several GPUs each has its own batch.

    Give either ``steps``, or ``epochs`` and the ``images`` of one epoch, which all GPUs of a job share.
    """

    kind: Literal["training_steps"] = "training_steps"
    model: str = Field(description="the network: a name of the catalog, such as resnet50")
    image_size: Annotated[int, Field(ge=8)] | None = Field(
        None, description="pixels of a side; left out, the network's own"
    )
    device: str = Field(description="a fitted device of the catalog, or a file that dcplan calibrate wrote")
    batch: int = Field(ge=1, description="samples of each GPU in one step")
    precision: Precision | None = Field(
        None, description="fp32, tf32, bf16 or fp16; left out, the first that was measured"
    )
    layout: Layout | None = Field(None, description="nchw or nhwc; left out, the first that was measured")
    gpus_per_node: Annotated[int, Field(ge=1)] = Field(8, description="GPUs of a node")
    fabric: BytesPerSecond = Field(USUAL_FABRIC, description="of one GPU to other nodes, each direction")
    steps: Annotated[int, Field(ge=1)] | None = Field(None, description="steps of a job")
    epochs: Annotated[float, Field(gt=0)] | None = Field(None, description="passes over the images")
    images: Annotated[int, Field(ge=1)] | None = Field(None, description="images of one epoch")

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        by_epochs = self.epochs is not None and self.images is not None
        if (self.steps is None) != by_epochs or (self.steps is not None and (self.epochs or self.images)):
            raise ValueError("give either steps, or epochs and images")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        if not has_network(self.model):
            raise ValueError(
                f'"{self.model}" is not a network of the catalog; {hint(self.model, network_names())}'
            )
        if Path(self.device).suffix not in {".yaml", ".yml"} and self.device not in device_names():
            raise ValueError(f'"{self.device}" is not a fitted device; {hint(self.device, device_names())}')
        return self

    def times_s(self, gpus: Counts, folder: Path) -> Floats:
        """Seconds of jobs of so many GPUs each; raises PlanError for what the device was not measured in."""
        each = {
            int(world): self._steps(int(world)) * self.step(int(world), folder).step_s
            for world in np.unique(gpus)
        }
        return np.array([each[int(world)] for world in gpus])

    def notes(self, gpus: Counts, folder: Path) -> tuple[str, ...]:
        """What a report must say of step times: their intervals, and where they go beyond measurements."""
        told = []
        name = device(self.device, folder).name
        for world in np.unique(gpus):
            step = self.step(int(world), folder)
            low, high = (units.human_duration(time_s) for time_s in (step.low_s, step.high_s))
            told.append(
                f"A step of {self.model} on {world} x {name}, batch {self.batch}: "
                f"{units.human_duration(step.step_s)}, with 80 % between {low} and {high}"
                + "".join(f"; outside the measured range: {fault}" for fault in step.outside)
            )
        return tuple(told)

    def step(self, world: int, folder: Path) -> Prediction:
        """One step on so many GPUs."""
        return self.on(world, folder).step

    def on(self, world: int, folder: Path) -> NetworkEstimate:
        """The estimate on so many GPUs, with what a step asks of network and storage."""
        fitted = device(self.device, folder)
        return estimate_network(
            NetworkJob(
                network(self.model, self.image_size), fitted, world, self.batch,
                self.precision or fitted.settings[0].precision, self.layout, self.gpus_per_node, self.fabric,
            )
        )  # fmt: skip

    def _steps(self, world: int) -> float:
        if self.steps is not None:
            return float(self.steps)
        return math.ceil((self.images or 0) / (self.batch * world)) * (self.epochs or 0.0)
