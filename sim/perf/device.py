"""A device as measurements made it known: how long steps take, how sure that is, and where it holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from sim import words
from sim.errors import PlanError, listed
from sim.parts import Name, Part
from sim.perf.operators import Model, OperatorKind
from sim.perf.step_time import NAMES, OPTIONAL, Floats, Layout, Precision, Step, step_s, work

Positive = Annotated[float, Field(gt=0)]
Interval = tuple[float, float]
LEVEL: Final = 0.8
NORMAL_80: Final = 1.2816
"""Standard deviations on either side that hold 80 % of a normal distribution."""
SLACK: Final = 1.25
"""Factor beyond the measured range that is still called inside it."""


class Quality(Part):
    """How wrong predictions were for what was left out of the fit, never for what was in it."""

    left_out: str = Field(description="what was left out at a time: one model, one batch size, ...")
    n: int = Field(ge=0)
    mape: float = Field(description="mean of the absolute relative errors")
    median: float
    p90: float
    coverage: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share inside the interval that should hold 80 %, where there are intervals",
    )

    @classmethod
    def of(cls, left_out: str, errors: Floats, inside: NDArray[np.bool_] | None = None) -> Self:
        """The figures of relative errors, and of which measurements lie in their interval."""
        size = np.abs(errors)
        figures = {"mape": size.mean(), "median": np.median(size), "p90": np.quantile(size, 0.9)}
        if inside is not None:
            figures["coverage"] = inside.mean()
        rounded = {name: float(f"{value:.4g}") for name, value in figures.items()}
        return cls(left_out=left_out, n=len(size), **rounded)


class Range(Part):
    """Where a quantity was measured, from the least to the most."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value is inside, give or take a little."""
        return self.low / SLACK <= value <= self.high * SLACK


class Piece(Part):
    """All-reduce times of messages from one size on: latency, and the bus rate of nccl-tests."""

    from_bytes: Annotated[float, Field(ge=0)] = 0.0
    latency_s: Annotated[float, Field(ge=0)]
    rate: Positive = Field(
        description="bytes a second over the bus: 2 (n - 1) / n times the message over time"
    )


class Link(Part):
    """How long so many devices take to add up their gradients."""

    world: int = Field(ge=2)
    nodes: int = Field(1, ge=1)
    pieces: tuple[Piece, ...] = Field(min_length=1)

    def all_reduce_s(self, message_bytes: float) -> float:
        """Seconds to all-reduce a message.

        >>> link = Link(world=8, pieces=(Piece(latency_s=1e-5, rate=1e11),))
        >>> round(link.all_reduce_s(1e8), 6)
        0.00176
        """
        piece = [piece for piece in self.pieces if piece.from_bytes <= message_bytes][-1]
        return piece.latency_s + 2 * (self.world - 1) / self.world * message_bytes / piece.rate


class Memory(Part):
    """Peak memory of a step: a fixed part, a multiple of the weights, a multiple of the activations."""

    fixed_bytes: Annotated[float, Field(ge=0)]
    bytes_per_parameter: Positive
    activations_kept: Positive = Field(
        description="of what the forward pass writes, what is alive at the peak"
    )
    largest_tensors: Annotated[float, Field(ge=0)] = Field(
        0.0, description="how many tensors as large as the largest activation are alive besides"
    )
    spread: Annotated[float, Field(ge=0)] = Field(
        description="standard deviation of the logarithm of the error"
    )
    quality: Quality | None = Field(None, description="of networks left out")

    def peak_bytes(self, step: Step) -> float:
        """The most memory that a step needs."""
        return (
            self.fixed_bytes
            + self.bytes_per_parameter * step.model.parameters
            + self.activations_kept * written_bytes(step)
            + self.largest_tensors * largest_tensor_bytes(step)
        )


class Setting(Part):
    """What a device does in one precision and layout."""

    precision: Precision
    layout: Layout
    compiled: bool = False
    parameters: dict[str, Positive] = Field(description="see sim/perf/step_time.py for what each means")
    uncertain: tuple[str, ...] = Field((), description="parameters that the measurements moved")
    covariance: tuple[float, ...] = Field(
        (), description="of their logarithms: the lower triangle, row by row"
    )
    spread: Positive = Field(description="standard deviation of the logarithm of a step time left out")
    measured: int = Field(ge=1, description="configurations in the fit")
    quality: tuple[Quality, ...] = ()
    residual_deciles: tuple[float, ...] = Field((), description="of measured over predicted, in the fit")
    batch: Range
    macs: Range = Field(description="multiply-accumulates of a sample")
    weights: Range = Field(description="parameters of the networks")
    kinds: tuple[OperatorKind, ...] = Field(description="kinds of operators in the measured networks")
    peak_memory: Memory | None = None

    @field_validator("parameters")
    @classmethod
    def _with_optional(cls, given: dict[str, float]) -> dict[str, float]:
        return dict(OPTIONAL) | given

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if set(self.parameters) != set(NAMES):
            raise ValueError(f"parameters must be {listed(NAMES)}")
        size = len(self.uncertain)
        if len(self.covariance) != size * (size + 1) // 2:
            raise ValueError(f"{size} uncertain parameters need {size * (size + 1) // 2} covariances")
        return self

    @property
    def logarithms(self) -> Floats:
        """The parameters in the order of ``step_time.NAMES``."""
        return np.log([self.parameters[name] for name in NAMES])

    def variance(self, steps: Sequence[Step]) -> Floats:
        """Variance of the logarithm of each step time: what fits leave over, and what they do not know."""
        size = len(self.uncertain)
        triangle = np.zeros((size, size))
        triangle[np.tril_indices(size)] = self.covariance
        covariance = triangle + np.tril(triangle, -1).T
        todo, at, slopes = work(steps), self.logarithms, np.empty((len(steps), size))
        base = np.log(step_s(at, todo))
        for place, name in enumerate(self.uncertain):
            beside = at.copy()
            beside[NAMES.index(name)] += 1e-4
            slopes[:, place] = (np.log(step_s(beside, todo)) - base) / 1e-4
        return np.asarray(self.spread**2 + np.einsum("ij,jk,ik->i", slopes, covariance, slopes))

    def outside(self, step: Step) -> tuple[str, ...]:
        """In which respects a step is not like anything that was measured, as sentences without a dot."""
        told = []
        for value, measured, noun in (
            (step.batch, self.batch, "batch"),
            (step.model.macs, self.macs, "multiply-accumulates of a sample"),
            (step.model.parameters, self.weights, "number of parameters"),
        ):
            if not measured.holds(value):
                told.append(
                    f"the {noun} is {value:,.4g}; measured were {measured.low:,.4g} to {measured.high:,.4g}"
                )
        unknown = {operator.kind for operator in step.model.operators} - set(self.kinds)
        if unknown:
            told.append(f"no measured network had {listed(sorted(unknown)).replace('_', ' ')}")
        return tuple(told)


class Device(Part):
    """One device as fitted, with where the measurements are from."""

    name: Name
    gpu: str | None = Field(None, description="the catalog's name of the GPU")
    source: str = Field(
        min_length=1, description="where the measurements are from, and the command of the fit"
    )
    evidence: Literal["measured", "fitted to published tables"] = "measured"
    notes: str = ""
    settings: tuple[Setting, ...] = Field(min_length=1)
    links: tuple[Link, ...] = ()
    overlap: Annotated[float, Field(ge=1)] = Field(
        2.0, description="1: all-reduce after the backward pass; the larger, the more of it hides behind"
    )
    waiting: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="share by which a step gets longer with each doubling of the devices of a node",
    )
    sync_s: Annotated[float, Field(ge=0)] = Field(
        0.0, description="time of each step on several devices besides, until all have begun and ended it"
    )
    copy_s_per_byte: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="time of each byte of gradients besides the all-reduce: they are copied into the buckets"
        " that it adds up, divided, and copied back",
    )
    together: Quality | None = Field(
        None, description="errors of steps on several devices, one network left out at a time"
    )
    samples_per_s: Positive | None = Field(
        None, description="of the data path of one node; left out, no limit"
    )

    def setting(
        self, precision: Precision, layout: Layout | None = None, *, compiled: bool = False
    ) -> Setting:
        """The setting of that name; PlanError with those there are if it was not measured."""
        for setting in self.settings:
            if (
                setting.precision == precision
                and layout in (None, setting.layout)
                and setting.compiled == compiled
            ):
                return setting
        known = [f"{s.precision} {s.layout}{' compiled' if s.compiled else ''}" for s in self.settings]
        asked = f"{precision} {layout or ''}{' compiled' if compiled else ''}".strip()
        raise PlanError(f'"{self.name}" was not measured in {asked}; choose {listed(known)}')

    def link(self, world: int, nodes: int = 1) -> Link:
        """How so many devices all-reduce; PlanError if that was not measured."""
        found = [link for link in self.links if link.nodes == nodes]
        exact = [link for link in found if link.world == world]
        if exact:
            return exact[0]
        if not found:
            raise PlanError(
                f'all-reduce of "{self.name}" on {world} devices was not measured; profile several'
            )
        nearest = min(found, key=lambda link: abs(math.log(link.world / world)))
        return nearest.model_copy(update={"world": world})


@dataclass(frozen=True, slots=True)
class Prediction:
    """A step time, the interval that should hold 80 % of such steps, and what is unlike the measurements."""

    step_s: float
    low_s: float
    high_s: float
    outside: tuple[str, ...] = ()


def training_step(
    model: Model,
    device: Device,
    batch: int,
    precision: Precision,
    *,
    layout: Layout | None = None,
    world: int = 1,
    nodes: int = 1,
    compiled: bool = False,
    all_reduce_s: float | None = None,
) -> Prediction:
    """How long one step of training takes, of ``batch`` samples on each of ``world`` devices.

    ``all_reduce_s`` is the time of adding up all gradients where something knows it better than the device.
    Raises PlanError where the device was not measured in that precision or on several devices.
    """
    setting = device.setting(precision, layout, compiled=compiled)
    step = Step(model, batch, precision)
    alone_s = float(step_s(setting.logarithms, work([step]))[0])
    whole_s, outside = alone_s, setting.outside(step)
    if world > 1:
        if all_reduce_s is None:
            link = device.link(world, nodes)
            if link not in device.links:
                outside += (
                    f"all-reduce of {world} devices on {words.count(nodes, 'node')} was not measured",
                )
            all_reduce_s = link.all_reduce_s(gradient_bytes(model))
        together_s = alone_s * (1 + device.waiting * math.log2(world / nodes))
        copied_s = device.copy_s_per_byte * gradient_bytes(model)
        whole_s = overlapped(together_s, all_reduce_s, device.overlap) + device.sync_s + copied_s
    if device.samples_per_s is not None:
        loading_s = batch * world / nodes / device.samples_per_s
        whole_s = overlapped(whole_s, loading_s, 8.0)
    factor = math.exp(NORMAL_80 * math.sqrt(float(setting.variance([step])[0])))
    return Prediction(whole_s, whole_s / factor, whole_s * factor, outside)


def gradient_bytes(model: Model) -> float:
    """Bytes of all gradients, which data parallelism adds up in each step: four for each weight."""
    return 4.0 * model.parameters


def overlapped(first_s: float, second_s: float, sharpness: float) -> float:
    """Time of two things that overlap: their sum at sharpness 1, the longer of them at infinity.

    The form is that of Pollux (Qiao et al., OSDI 2021) for gradients and their all-reduce.

    >>> overlapped(3.0, 4.0, 1.0), overlapped(3.0, 4.0, 2.0)
    (7.0, 5.0)
    """
    return float((first_s**sharpness + second_s**sharpness) ** (1 / sharpness))


def written_bytes(step: Step) -> float:
    """Bytes that the forward pass of a step writes: what the backward pass may have to keep."""
    narrow = step.precision in ("bf16", "fp16")
    elements = sum(
        operator.count * (operator.output_elements + (operator.wide_output_elements if narrow else 0))
        for operator in step.model.operators
        if operator.kind != "loss"
    )
    return float(step.batch * elements * (2 if narrow else 4))


def largest_tensor_bytes(step: Step) -> float:
    """Bytes of the largest tensor that an operator of a step reads or writes, in four bytes an element."""
    sizes = (max(operator.input_elements, operator.output_elements) for operator in step.model.operators)
    return 4.0 * step.batch * max(sizes, default=0)
