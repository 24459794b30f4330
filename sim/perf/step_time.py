"""The time of a training step from what the network computes and what the device can do.

A step is three passes over the operators of a network (forward, gradients of activations, gradients of
weights), an update of its weights, and a fixed cost. On the device

- a product takes the larger of its multiplications at the rate for its kind and shape, and its bytes;
- everything else takes its bytes, as often as they are read and written, at the memory's rate;
- each kernel adds a little.

The host meanwhile launches the kernels; the slower of the two is what a step takes. All parameters are
positive, so they are fitted as logarithms. What a kind of operator "reads and writes" is counted after what
the algorithms need (a batch normalisation reads its input twice forward), so a traffic of 1 is its rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sim.perf.operators import Model, Operator

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
NARROW: Final = ("bf16", "fp16")
"""Precisions of mixed precision: products in two bytes, what must be exact in four."""
Layout = Literal["nchw", "nhwc"]

PRODUCTS: Final = ("spatial", "pointwise", "grouped", "grouped_general", "matrix_product", "attention")
"""Kinds of products: convolutions of a window, of 1 x 1, in groups, in groups of unusual shape; the rest."""

PASSES: Final[Mapping[str, tuple[float, float]]] = {
    "normalisation": (4, 4),
    "layer_normalisation": (3, 3),
    "softmax": (2, 3),
    "activation": (2.5, 2.5),
    "element_wise": (1.5, 1.5),
    "scaling": (3, 3),
    "gating": (3, 3),
    "pooling": (2, 4),
    "copy": (2, 2),
}
"""How often the input and the output of an operator go through memory in one training step."""

TRAFFIC: Final = (*PASSES, "depthwise", "depthwise_taps", "cast", "update")
UPDATE_BYTES: Final = 36
"""Bytes a weight moves in an update with momentum: cast, gradient, momentum, weight, and their writing."""
SHARPNESS: Final = 3.0
HOST_SHARPNESS: Final = 6.0
TILE: Final = 128
REGULAR_GROUP_SIZES: Final = (4, 8, 16, 32)
REGULAR_GROUPS: Final = 16
ALIGNMENT: Final = 8
IMAGE_CHANNELS: Final = 3
MOSTLY_ONE_INPUT: Final = 1.5


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a device: where a fit starts, how far off it may be (a factor), its largest value."""

    name: str
    start: float
    spread: float
    meaning: str
    largest: float = math.inf


def _parameters() -> tuple[Parameter, ...]:
    found = [
        Parameter("compute_rate", 1e12, math.exp(4), "multiplications and additions a second at best"),
        Parameter("memory_rate", 1e11, math.exp(4), "bytes a second at best"),
    ]
    for kind in PRODUCTS:
        if kind == "matrix_product":
            found += [
                Parameter(f"{name}.{kind}", 1.0, spread, "times that of 1 x 1 convolutions, which are alike")
                for name, spread in (
                    ("efficiency", 1.2),
                    ("half_columns", 4),
                    ("half_length", 4),
                    ("traffic", 2),
                )
            ]
            continue
        found += [
            Parameter(f"efficiency.{kind}", 0.8, 1.5, "share of the compute rate for large ones", 1.2),
            Parameter(f"half_columns.{kind}", 24.0, 2.0, "columns at which half of it is reached"),
            Parameter(f"half_length.{kind}", 48.0, 2.0, "length of sums at which half of it is reached"),
            Parameter(f"traffic.{kind}", 1.3, 1.5, "times their bytes are moved"),
        ]
    found += [
        Parameter("half_tiles", 64.0, math.e, "tiles at which half of the device is busy"),
        Parameter("misaligned", 1.3, 1.35, "times longer if channels are no multiple of 8"),
    ]
    found += [Parameter(f"traffic.{kind}", 1.2, 1.5, "times their bytes are moved") for kind in TRAFFIC]
    return (
        *found,
        Parameter("kernel_s", 3e-6, 1.7, "device time of each kernel beyond its work"),
        Parameter("weight_s", 5e-6, math.e, "device time of updating each tensor of weights"),
        Parameter("host_s", 2e-5, 2.0, "host time of each operator of a step"),
        Parameter("step_s", 2e-3, math.e, "time of each step beyond its work"),
    )


PARAMETERS: Final = _parameters()
NAMES: Final = tuple(parameter.name for parameter in PARAMETERS)
INDEX: Final = {name: place for place, name in enumerate(NAMES)}
_PRODUCT_OF: Final = {"matrix_product": 4, "attention": 5}


@dataclass(frozen=True, slots=True)
class Step:
    """One configuration whose step time is asked for."""

    model: Model
    batch: int
    precision: Precision


@dataclass(frozen=True, slots=True)
class Work:
    """Steps in numbers: every pass of every product on its own, everything else summed up by step."""

    steps: int
    step_of: Counts
    kind: Counts
    count: Floats
    flop: Floats
    columns: Floats
    length: Floats
    sums: Floats
    inverse_tiles: Floats
    product_bytes: Floats
    misaligned: Floats
    traffic_bytes: Floats
    kernels: Floats
    weights: Floats

    def at_rates(self, compute: Floats, memory: Floats) -> Work:
        """The same work for devices that are so many times faster than the one asked, step by step."""
        return replace(
            self,
            flop=self.flop / compute[self.step_of],
            product_bytes=self.product_bytes / memory[self.step_of],
            traffic_bytes=self.traffic_bytes / memory[:, np.newaxis],
        )


def work(steps: Sequence[Step]) -> Work:
    """What steps make a device do."""
    products: list[tuple[float, ...]] = []
    traffic = np.zeros((len(steps), len(TRAFFIC)))
    kernels, weights = np.zeros(len(steps)), np.zeros(len(steps))
    for place, step in enumerate(steps):
        for operator in step.model.operators:
            kernels[place] += operator.count
            weights[place] += operator.count * (operator.weight_elements > 1)
            if operator.macs and operator.kind != "depthwise_convolution":
                products += [(place, *one) for one in _passes(operator, step)]
            for kind, moved in _moved(operator, step):
                traffic[place, TRAFFIC.index(kind)] += operator.count * moved
        traffic[place, TRAFFIC.index("update")] = UPDATE_BYTES * step.model.parameters
    place_of, kind_of, *columns = np.array(products, dtype=np.float64).reshape(-1, 10).T
    count, flop, across, length, sums, inverse_tiles, in_memory, odd = columns
    return Work(
        len(steps), place_of.astype(np.int64), kind_of.astype(np.int64), count, flop, across, length, sums,
        inverse_tiles, in_memory, odd, traffic, kernels, weights,
    )  # fmt: skip


def _passes(operator: Operator, step: Step) -> list[tuple[float, ...]]:
    """Forward, gradient of the input, gradient of the weights: each is a product of its own shape."""
    kind = _product_kind(operator)
    per_batch = step.batch if operator.kind == "attention" else 1
    groups = operator.groups * per_batch
    rows = max(operator.gemm_m, 1) * step.batch / per_batch
    channels = max(operator.gemm_k // operator.taps, 1)
    flop = 2.0 * step.batch * operator.macs
    moved = _width(step) * (
        step.batch * (operator.input_elements + operator.output_elements) + operator.weight_elements
    )
    odd = float(operator.gemm_n % ALIGNMENT != 0 or channels % ALIGNMENT != 0)

    def one(columns: float, length: float, *, sums: bool) -> tuple[float, ...]:
        tiles = rows * groups / TILE * math.ceil(columns / TILE)
        return (
            kind, operator.count, flop, columns, length, float(sums), 1 / tiles if sums else 0.0, moved, odd,
        )  # fmt: skip

    forward = one(operator.gemm_n, operator.gemm_k, sums=True)
    of_weights = one(operator.gemm_n, operator.gemm_k, sums=False)
    if operator.taps > 1 and channels == IMAGE_CHANNELS:
        return [forward, of_weights]  # nobody asks for the gradient of an image
    return [forward, one(channels, operator.gemm_n * operator.taps, sums=True), of_weights]


def _product_kind(operator: Operator) -> int:
    if operator.kind == "convolution":
        return PRODUCTS.index("pointwise" if operator.taps == 1 else "spatial")
    if operator.kind == "grouped_convolution":
        channels = operator.gemm_k // operator.taps
        regular = (
            operator.taps > 1
            and channels == operator.gemm_n
            and channels in REGULAR_GROUP_SIZES
            and operator.groups % REGULAR_GROUPS == 0
        )
        return PRODUCTS.index("grouped" if regular else "grouped_general")
    return _PRODUCT_OF[operator.kind]


def _moved(operator: Operator, step: Step) -> list[tuple[str, float]]:
    """Bytes that an operator moves in a step beside its products, by kind of traffic."""
    read = step.batch * _bytes(operator.input_elements, operator.wide_input_elements, step)
    written = step.batch * _bytes(operator.output_elements, operator.wide_output_elements, step)
    if operator.macs:
        found = []
        if operator.kind == "depthwise_convolution":
            elements = step.batch * (operator.input_elements + operator.output_elements)
            moved = 3.0 * _width(step) * (elements + operator.weight_elements)
            found = [("depthwise", moved), ("depthwise_taps", moved * operator.taps)]
        if step.precision in NARROW and operator.wide_input_elements:
            found.append(("cast", 12.0 * step.batch * operator.wide_input_elements))
        return found
    kind = _traffic_kind(operator)
    passes = PASSES[kind]
    return [(kind, passes[0] * read + passes[1] * written)]


def _traffic_kind(operator: Operator) -> str:
    if operator.kind == "element_wise":
        if operator.input_elements and operator.weight_elements > 1:
            return "scaling"
        if operator.output_elements < operator.input_elements < MOSTLY_ONE_INPUT * operator.output_elements:
            return "gating"
        return "element_wise"
    return {"embedding": "copy", "loss": "softmax"}.get(operator.kind, operator.kind)


def _width(step: Step) -> int:
    return 2 if step.precision in NARROW else 4


def _bytes(elements: int, wide: int, step: Step) -> float:
    """Bytes of elements, of which some stay wide in mixed precision."""
    return 2.0 * (elements + wide) if step.precision in NARROW else 4.0 * elements


def step_s(logarithms: Floats, todo: Work) -> Floats:
    """Seconds of each step on a device whose parameters are given as natural logarithms, in their order."""
    return np.asarray(device_and_host_s(logarithms, todo).sum(axis=0))


def device_and_host_s(logarithms: Floats, todo: Work) -> Floats:
    """Two rows: the work of a step, by the slower of device and host, and the fixed cost of a step."""
    value = np.exp(logarithms)
    memory_rate = value[INDEX["memory_rate"]]
    device = np.bincount(todo.step_of, todo.count * _product_s(value, todo), todo.steps)
    traffic = value[INDEX[f"traffic.{TRAFFIC[0]}"] : INDEX[f"traffic.{TRAFFIC[-1]}"] + 1]
    device = device + todo.traffic_bytes @ traffic / memory_rate
    device += 3 * todo.kernels * value[INDEX["kernel_s"]] + todo.weights * value[INDEX["weight_s"]]
    host = (todo.kernels + todo.weights) * value[INDEX["host_s"]]
    return np.stack([_larger(device, host, HOST_SHARPNESS), np.full(todo.steps, value[INDEX["step_s"]])])


def _product_s(value: Floats, todo: Work) -> Floats:
    """Seconds of each product."""

    def of_each(name: str) -> Floats:
        of_kind = value[[INDEX[f"{name}.{kind}"] for kind in PRODUCTS]]
        of_kind[PRODUCTS.index("matrix_product")] *= value[INDEX[f"{name}.pointwise"]]
        return np.asarray(of_kind[todo.kind])

    half_columns = of_each("half_columns")
    half_length = np.where(todo.sums > 0, of_each("half_length"), half_columns)
    slowed = (1 + half_columns / todo.columns) * (1 + half_length / todo.length)
    slowed = slowed * (1 + value[INDEX["half_tiles"]] * todo.inverse_tiles)
    slowed = slowed * np.where(todo.misaligned > 0, value[INDEX["misaligned"]], 1.0)
    multiplying = todo.flop * slowed / (value[INDEX["compute_rate"]] * of_each("efficiency"))
    moving = todo.product_bytes * of_each("traffic") / value[INDEX["memory_rate"]]
    return _larger(multiplying, moving, SHARPNESS)


def _larger(left: Floats, right: Floats, sharpness: float) -> Floats:
    """The larger of two times, rounded off where they are alike: what overlaps never overlaps wholly."""
    return np.asarray((left**sharpness + right**sharpness) ** (1 / sharpness), dtype=np.float64)


def parts_s(logarithms: Floats, step: Step) -> dict[str, float]:
    """Seconds of device time of one step, by kind of product and of traffic."""
    todo, value = work([step]), np.exp(logarithms)
    products = np.bincount(todo.kind, todo.count * _product_s(value, todo), len(PRODUCTS))
    traffic = value[INDEX[f"traffic.{TRAFFIC[0]}"] : INDEX[f"traffic.{TRAFFIC[-1]}"] + 1]
    moved = todo.traffic_bytes[0] * traffic / value[INDEX["memory_rate"]]
    named = zip((*PRODUCTS, *TRAFFIC), (*products, *moved), strict=True)
    return {name: float(time_s) for name, time_s in named if time_s > 0}
