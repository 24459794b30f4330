"""What was measured, one row for each configuration, with the time of every repetition.

Names carry their unit, as everywhere; sizes are bytes, not bits. A configuration that did not fit in memory
or failed is a row too, with the reason and without times.
"""

from abc import abstractmethod
from statistics import median, quantiles
from typing import Annotated, Literal, Self

from pydantic import Field, computed_field, model_validator

from sim.profile.stored import Stored

Status = Literal["ok", "out_of_memory", "failed"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Layout = Literal["nchw", "nhwc"]
Phase = Literal["data", "copy", "forward", "backward", "all_reduce", "optimiser"]
Backend = Literal["gloo", "nccl"]

DRAWN = "drawn_"
"""What the names of networks begin with that were drawn at random, of one kind of operator each."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Times = tuple[Positive, ...]


class Row(Stored):
    """One configuration: whether it ran, and if so the pass of the sweep that each repetition belongs to."""

    status: Status = "ok"
    reason: str = Field("", description="why there are no times")
    pass_index: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="for each repetition the pass of the sweep, from 0; the last passes show drift"
    )

    @property
    @abstractmethod
    def repetitions_s(self) -> Times:
        """The time of each repetition, whatever it is called in this row."""

    @property
    @abstractmethod
    def configuration(self) -> str:
        """What was set, as one line for people, different for different configurations."""

    @computed_field(description="median of the repetitions")  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def median_s(self) -> float | None:
        """Median of the repetitions, None where there are none."""
        return median(self.repetitions_s) if self.repetitions_s else None

    @computed_field(description="distance of the quartiles of the repetitions over their median")  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def spread(self) -> float | None:
        """Distance of the quartiles over the median; 0 with a single repetition."""
        times_s = self.repetitions_s
        if not times_s:
            return None
        low_s, _, high_s = (
            quantiles(times_s, n=4, method="inclusive") if len(times_s) > 1 else (times_s[0],) * 3
        )
        return (high_s - low_s) / median(times_s)

    @model_validator(mode="after")
    def _times_or_a_reason(self) -> Self:
        if self.status != "ok":
            if self.repetitions_s or not self.reason:
                raise ValueError("a configuration that did not run has a reason and no times")
        elif not self.repetitions_s:
            raise ValueError("has no repetition")
        if len(self.pass_index) != len(self.repetitions_s):
            raise ValueError(f"{len(self.pass_index)} passes for {len(self.repetitions_s)} repetitions")
        return self

    def per_second(self, amount: float) -> float | None:
        """How much of something is done a second, if so much is done in one repetition."""
        return None if self.median_s is None else amount / self.median_s


class ModelRow(Row):
    """A model that ran on a device: what training and inference have in common."""

    model: str = Field(description="name in `models`, such as resnet18@64: the model at 64 pixels")
    batch_per_device: Count
    precision: Precision = "fp32"
    layout: Layout = "nchw"
    compiled: bool = False
    threads: int | None = Field(None, ge=1, description="threads of each process, on a CPU")
    step_s: Times = Field((), description="time of each step, measured in a bare loop without any hook")
    flops_per_step: float | None = Field(None, ge=0, description="by torch's counter, for one device")
    kernels_per_step: int | None = Field(None, ge=0, description="operators that reach the device in a step")
    bytes_per_step: dict[str, NotNegative] = Field({}, description="bytes read and written by operator kind")
    peak_memory_bytes: float | None = Field(
        None, ge=0, description="most bytes of tensors alive on one device"
    )
    power_w: float | None = Field(None, ge=0, description="mean power of one device during the steps")
    energy_j: float | None = Field(None, ge=0, description="energy of one device for one step")
    clock_mhz: float | None = Field(None, ge=0, description="mean clock of the compute units")
    throttled_by: tuple[str, ...] = Field((), description="reasons why the device ran below its clock")

    @property
    def repetitions_s(self) -> Times:
        """The times of the steps."""
        return self.step_s

    @property
    def devices(self) -> int:
        """Devices that worked on a step."""
        return 1

    @property
    def _what_ran(self) -> str:
        how = f"{self.precision} {self.layout}{' compiled' if self.compiled else ''}"
        threads = f" {self.threads} threads" if self.threads else ""
        return f"{self.model} batch {self.batch_per_device} {how}{threads}"

    @computed_field(description="samples of all devices a second, from the median")  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def images_per_s(self) -> float | None:
        """Samples of all devices a second."""
        return self.per_second(self.batch_per_device * self.devices)


class TrainingRow(ModelRow):
    """Steps of training: forward, backward, update; with several devices their gradients are averaged."""

    optimizer: str = "sgd"
    world_size: Count = 1
    backend: Backend | None = Field(None, description="what averages the gradients; none on one device")
    phases_s: dict[Phase, tuple[NotNegative, ...]] = Field(
        {}, description="parts of the step, measured in a pass of their own: their sum is not step_s exactly"
    )
    operators_s: dict[str, tuple[NotNegative, ...]] = Field(
        {},
        description="time by kind of operator, measured in steps of their own, one by one; only where an "
        "operator is done when its call returns: on a CPU",
    )

    @property
    def devices(self) -> int:
        """Devices that worked on a step."""
        return self.world_size

    @property
    def configuration(self) -> str:
        """Model, batch, precision, layout, optimiser and devices."""
        many = f" on {self.world_size} devices" if self.world_size > 1 else ""
        return f"training {self._what_ran} {self.optimizer}{many}"

    @computed_field(description="medians of phases_s")  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def median_phases_s(self) -> dict[Phase, float]:
        """Medians of the phases."""
        return {phase: median(times) for phase, times in self.phases_s.items() if times}


class InferenceRow(ModelRow):
    """Forward passes without gradients."""

    @property
    def configuration(self) -> str:
        """Model, batch, precision and layout."""
        return f"inference {self._what_ran}"


class TimedRow(Row):
    """Something that is not a model: the times of its repetitions."""

    time_s: Times = ()

    @property
    def repetitions_s(self) -> Times:
        """The times."""
        return self.time_s


class LoaderRow(TimedRow):
    """A data loader on its own: images decoded from files and made into batches, nobody computing."""

    source: str = Field(description="what the images are, such as jpeg 256 px")
    workers: int = Field(ge=0, description="processes; 0: the training process itself")
    batch: Count
    images: int = Field(ge=1, description="images of one repetition")
    bytes_per_image: Positive

    @property
    def configuration(self) -> str:
        """Source and workers."""
        return f"loader {self.source} batch {self.batch} {self.workers} workers"

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def images_per_s(self) -> float | None:
        """Images loaded a second."""
        return self.per_second(self.images)


class SizedRow(TimedRow):
    """Something that moves bytes."""

    size_bytes: float = Field(gt=0, description="bytes moved in one repetition")

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def bytes_per_s(self) -> float | None:
        """Bytes moved a second."""
        return self.per_second(self.size_bytes)


class StorageRow(SizedRow):
    """Reading a file, in order or blocks at random; a second read may come from the page cache."""

    pattern: Literal["sequential", "random"]
    read: Literal["first", "second"] = Field(
        description="first: after the page cache was told to forget the file"
    )
    block_bytes: Positive
    latency_s: Times = Field((), description="median time of one block, for each repetition")

    @property
    def configuration(self) -> str:
        """Pattern and read."""
        return f"storage {self.pattern} {self.read} read"


class CheckpointRow(SizedRow):
    """Model and optimiser written until they are on the disk, or read back into the model."""

    operation: Literal["write", "restore"]
    model: str

    @property
    def configuration(self) -> str:
        """Operation and model."""
        return f"checkpoint {self.operation} {self.model}"


class HostToDeviceRow(SizedRow):
    """A copy from the memory of the host to that of the device; on a CPU from memory to memory."""

    pinned: bool

    @property
    def configuration(self) -> str:
        """Size and kind of memory."""
        return f"host to device {self.size_bytes:.0f} bytes{' pinned' if self.pinned else ''}"


class CollectiveRow(SizedRow):
    """A collective among devices; ``size_bytes`` is the whole buffer, for all_gather that of the result."""

    operation: Literal["all_reduce", "all_gather", "broadcast"]
    world_size: int = Field(ge=2)
    backend: Backend

    @property
    def configuration(self) -> str:
        """Operation, size and devices."""
        return f"{self.operation} {self.size_bytes:.0f} bytes x{self.world_size}"
