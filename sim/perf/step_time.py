"""The time of a training step from what the network computes and what the device can do.

A step is three passes over the operators of a network (forward, gradients of activations, gradients of
weights), an update of its weights, and a fixed cost. On the device

- a product takes the larger of its multiplications at the rate for its kind and shape, and its bytes;
- everything else takes its bytes, as often as they are read and written, at the memory's rate;
- each kernel adds a little.

On a CPU, five things more take their time, which on a GPU hide: the start of a convolution, bringing its
weights into another order, the positions of a pooling window, depthwise convolutions of more than 3 x 3, and
memory that is fresh from the system.

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

SLOW_ON_A_CPU: Final = (
    "pooling_window", "wide_depthwise", "wide_depthwise_taps", "wide_depthwise_weights",
    "convolution_weights", "fresh",
)  # fmt: skip
"""Traffic that a GPU does not know; its factors are next to nothing there.

Depthwise convolutions of more than 3 x 3 (wide) take a time for each element, one for each element and
position of the window, and one for each weight however many samples there are. On one CPU (AVX-512, channels
last) a step took 2.0 ns for an element of 5 x 5, 4.1 ns for one of 7 x 7 and 50 ns for a weight.
"""
TRAFFIC: Final = (*PASSES, "depthwise", "depthwise_taps", "cast", "update", *SLOW_ON_A_CPU)
_FUSIBLE: Final = np.array([kind in ("activation", "element_wise", "scaling", "gating") for kind in TRAFFIC])
"""Which kinds of traffic libraries and compilers can do along with other operators."""
GROUPS: Final = (
    "convolution", "grouped_convolution", "depthwise_convolution", "matrix_product", "normalisation",
    "activation", "other", "optimiser",
)  # fmt: skip
"""What the device time of a step is measured by: kinds of operators, the small ones together."""
UPDATE_BYTES: Final = 36
"""Bytes a weight moves in an update with momentum: cast, gradient, momentum, weight, and their writing."""
SHARPNESS: Final = 3
HOST_SHARPNESS: Final = 6
TILE: Final = 128
REGULAR_GROUP_SIZES: Final = (4, 8, 16, 32)
REGULAR_GROUPS: Final = 16
ALIGNMENT: Final = 8
USUAL_WINDOW: Final = 9
"""Positions of a 3 x 3 window, for which libraries for CPUs have depthwise kernels of their own."""
WINDOW_START: Final = 3
"""Positions of a pooling window that its start takes as long as: 1, 4, 9 took 3.5, 6.5, 11 ns on one CPU."""
FRESH_BYTES: Final = 32 * 2**20
"""Larger tensors get pages from the system each time: glibc's largest threshold (mallopt(3))."""
OFF: Final = 1e-15
"""Of a cost that a device does not have."""
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
    found += [
        Parameter(f"traffic.{kind}", OFF, 1.0, "times their bytes are moved, on a CPU")
        if kind in SLOW_ON_A_CPU
        else Parameter(f"traffic.{kind}", 1.2, 1.5, "times their bytes are moved")
        for kind in TRAFFIC
    ]
    return (
        *found,
        Parameter("kernel_s", 3e-6, 1.7, "device time of each kernel beyond its work"),
        Parameter("image", 1.0, 1.0, "times longer for the forward pass over the image itself, on a CPU"),
        Parameter("convolution_s", OFF, 1.0, "device time of each pass of a convolution besides, on a CPU"),
        Parameter("weight_s", 5e-6, math.e, "device time of updating each tensor of weights"),
        Parameter("host_s", 2e-5, 2.0, "host time of each operator of a step"),
        Parameter("step_s", 2e-3, math.e, "time of each step beyond its work"),
    )


PARAMETERS: Final = _parameters()
NAMES: Final = tuple(parameter.name for parameter in PARAMETERS)
INDEX: Final = {name: place for place, name in enumerate(NAMES)}
SIZES: Final = tuple(
    f"half_{what}.{kind}" for what in ("columns", "length") for kind in PRODUCTS if kind != "matrix_product"
)
"""Sizes at which half of a rate is reached; those of matrix products are relative to others."""
SIZES_BY_PEAK: Final = 0.5
"""Exponent by which these sizes grow with the peak rate from one device to another.

A small product is bound by what feeds the arithmetic, which grows less than the arithmetic does. Where the
fit over the GPUs of published tables may choose, it stays there.
"""
_PRODUCT_OF: Final = {"matrix_product": 4, "attention": 5}
OPTIONAL: Final = {parameter.name: parameter.start for parameter in PARAMETERS if parameter.spread == 1}
"""Parameters that the description of a device may leave out."""


def group(kind: str) -> int:
    """The place in ``GROUPS`` of a kind of operators, of products or of traffic."""
    return GROUPS.index(_GROUP_OF.get(kind, "other"))


_GROUP_OF: Final = {
    "convolution": "convolution", "spatial": "convolution", "pointwise": "convolution",
    "grouped_convolution": "grouped_convolution", "grouped": "grouped_convolution",
    "grouped_general": "grouped_convolution", "depthwise_convolution": "depthwise_convolution",
    "depthwise": "depthwise_convolution", "depthwise_taps": "depthwise_convolution",
    "convolution_weights": "convolution", "wide_depthwise": "depthwise_convolution",
    "wide_depthwise_taps": "depthwise_convolution", "wide_depthwise_weights": "depthwise_convolution",
    "matrix_product": "matrix_product", "attention": "matrix_product", "normalisation": "normalisation",
    "layer_normalisation": "normalisation", "activation": "activation", "update": "optimiser",
    "optimiser": "optimiser",
}  # fmt: skip
_PRODUCT_GROUPS: Final = np.array([group(kind) for kind in PRODUCTS])
_TRAFFIC_GROUPS: Final = np.array(
    [[float(group(kind) == place) for place in range(len(GROUPS))] for kind in TRAFFIC]
)


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
    of_image: Floats
    """Colours of the image that the forward pass of a convolution reads, 0 where it reads something else.

    Libraries for CPUs read images with code of their own. One colour is the same in all layouts, and short
    sums cost nothing there.
    """
    traffic_bytes: Floats
    fresh_bytes: Floats
    kernels: Floats
    convolutions: Floats
    weights: Floats

    def at_rates(
        self, compute: Floats, memory: Floats, windows: Floats, fused: Floats, sizes: Floats
    ) -> Work:
        """The same work for devices that are so many times faster than the one asked, step by step.

        ``windows`` is how many times faster convolutions of a window are besides, and ``fused`` how many
        times less goes through memory for what can be done along with other operators. ``sizes`` is how many
        times larger products must be to reach the same share of the compute rate.
        """
        of_windows = np.where(self.kind == PRODUCTS.index("spatial"), windows[self.step_of], 1.0)
        of_traffic = np.where(_FUSIBLE, fused[:, np.newaxis], 1.0)
        return replace(
            self,
            flop=self.flop / compute[self.step_of] / of_windows,
            columns=self.columns / sizes[self.step_of],
            length=self.length / sizes[self.step_of],
            product_bytes=self.product_bytes / memory[self.step_of],
            traffic_bytes=self.traffic_bytes / memory[:, np.newaxis] / of_traffic,
            fresh_bytes=self.fresh_bytes / memory[:, np.newaxis],
        )


def work(steps: Sequence[Step]) -> Work:
    """What steps make a device do."""
    products: list[tuple[float, ...]] = []
    traffic = np.zeros((len(steps), len(TRAFFIC)))
    weights = np.zeros(len(steps))
    kernels, convolutions, fresh = np.zeros((3, len(steps), len(GROUPS)))
    for place, step in enumerate(steps):
        for operator in step.model.operators:
            own = group(operator.kind)
            kernels[place, own] += operator.count
            if operator.kind.endswith("convolution"):
                convolutions[place, own] += 3 * operator.count
            fresh[place, own] += operator.count * _fresh_bytes(operator, step)
            weights[place] += operator.count * (operator.weight_elements > 1)
            if operator.macs and operator.kind != "depthwise_convolution":
                products += [(place, *one) for one in _passes(operator, step)]
            for kind, moved in _moved(operator, step):
                traffic[place, TRAFFIC.index(kind)] += operator.count * moved
        traffic[place, TRAFFIC.index("update")] = UPDATE_BYTES * step.model.parameters
    place_of, kind_of, *columns = np.array(products, dtype=np.float64).reshape(-1, 11).T
    count, flop, across, length, sums, inverse_tiles, in_memory, odd, of_image = columns
    return Work(
        len(steps), place_of.astype(np.int64), kind_of.astype(np.int64), count, flop, across, length, sums,
        inverse_tiles, in_memory, odd, of_image, traffic, fresh, kernels, convolutions, weights,
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
    of_image = operator.taps > 1 and channels <= IMAGE_CHANNELS and operator.kind == "convolution"
    odd = float(operator.gemm_n % ALIGNMENT != 0 or channels % ALIGNMENT != 0)

    def one(columns: float, length: float, *, sums: bool) -> tuple[float, ...]:
        tiles = rows * groups / TILE * math.ceil(columns / TILE)
        return (
            kind, operator.count, flop, columns, length, float(sums), 1 / tiles if sums else 0.0, moved, odd,
            float(channels if of_image and sums else 0),
        )  # fmt: skip

    forward = one(operator.gemm_n, operator.gemm_k, sums=True)
    of_weights = one(operator.gemm_n, operator.gemm_k, sums=False)
    if of_image:
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
        if operator.kind == "convolution":
            found.append(("convolution_weights", 3.0 * _width(step) * operator.weight_elements))
        if operator.kind == "depthwise_convolution":
            elements = step.batch * (operator.input_elements + operator.output_elements)
            moved = 3.0 * _width(step) * (elements + operator.weight_elements)
            found += [("depthwise", moved), ("depthwise_taps", moved * operator.taps)]
            if operator.taps > USUAL_WINDOW:
                found += [
                    ("wide_depthwise", _width(step) * elements),
                    ("wide_depthwise_taps", _width(step) * elements * operator.taps),
                    ("wide_depthwise_weights", _width(step) * operator.weight_elements),
                ]
        if step.precision in NARROW and operator.wide_input_elements:
            found.append(("cast", 12.0 * step.batch * operator.wide_input_elements))
        return found
    kind = _traffic_kind(operator)
    passes = PASSES[kind]
    found = [(kind, passes[0] * read + passes[1] * written)]
    if kind == "pooling" and operator.taps > 1:
        found.append(("pooling_window", written * (operator.taps + WINDOW_START)))
    return found


def _fresh_bytes(operator: Operator, step: Step) -> float:
    """Bytes of the tensors of a step that are large enough to come fresh from the system."""
    written = 0 if operator.kind == "activation" else operator.output_elements
    sizes = (
        _width(step) * step.batch * written,
        _width(step) * step.batch * operator.input_elements,
        4 * operator.weight_elements,
    )
    return float(sum(size for size in sizes if size > FRESH_BYTES))


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


def step_s(logarithms: Floats, todo: Work, groups: Floats | None = None) -> Floats:
    """Seconds of each step on a device whose parameters are given as natural logarithms, in their order.

    Whoever has ``groups_s`` of the same already gives it, so that it is not computed again.
    """
    return np.asarray(device_and_host_s(logarithms, todo, groups).sum(axis=0))


def device_and_host_s(logarithms: Floats, todo: Work, groups: Floats | None = None) -> Floats:
    """Two rows: the work of a step, by the slower of device and host, and the fixed cost of a step."""
    value = np.exp(logarithms)
    device = (groups_s(logarithms, todo) if groups is None else groups).sum(axis=1)
    host = (todo.kernels.sum(axis=1) + todo.weights) * value[INDEX["host_s"]]
    return np.stack([_larger(device, host, HOST_SHARPNESS), np.full(todo.steps, value[INDEX["step_s"]])])


def groups_s(logarithms: Floats, todo: Work) -> Floats:
    """Seconds of device time of each step (rows) by ``GROUPS`` (columns)."""
    value = np.exp(logarithms)
    place = todo.step_of * len(GROUPS) + _PRODUCT_GROUPS[todo.kind]
    products = np.bincount(place, todo.count * _product_s(value, todo), todo.steps * len(GROUPS))
    found = products.reshape(todo.steps, len(GROUPS)) + _moving_s(value, todo) @ _TRAFFIC_GROUPS
    found += todo.fresh_bytes * value[INDEX["traffic.fresh"]] / value[INDEX["memory_rate"]]
    found += 3 * todo.kernels * value[INDEX["kernel_s"]] + todo.convolutions * value[INDEX["convolution_s"]]
    found[:, -1] += todo.weights * value[INDEX["weight_s"]]
    return np.asarray(found)


def _moving_s(value: Floats, todo: Work) -> Floats:
    """Seconds of each step (rows) by kind of traffic (columns)."""
    traffic = value[INDEX[f"traffic.{TRAFFIC[0]}"] : INDEX[f"traffic.{TRAFFIC[-1]}"] + 1]
    return np.asarray(todo.traffic_bytes * traffic / value[INDEX["memory_rate"]])


def _product_s(value: Floats, todo: Work) -> Floats:
    """Seconds of each product."""

    def of_each(name: str) -> Floats:
        of_kind = value[[INDEX[f"{name}.{kind}"] for kind in PRODUCTS]]
        of_kind[PRODUCTS.index("matrix_product")] *= value[INDEX[f"{name}.pointwise"]]
        return np.asarray(of_kind[todo.kind])

    half_columns = of_each("half_columns")
    half_length = np.where(todo.sums > 0, of_each("half_length"), half_columns)
    half_length = np.where(todo.of_image == 1, 0.0, half_length)  # one colour
    slowed = (1 + half_columns / todo.columns) * (1 + half_length / todo.length)
    slowed = slowed * (1 + value[INDEX["half_tiles"]] * todo.inverse_tiles)
    slowed = slowed * np.where(todo.misaligned > 0, value[INDEX["misaligned"]], 1.0)
    slowed = slowed * np.where(todo.of_image > 1, value[INDEX["image"]], 1.0)
    multiplying = todo.flop * slowed / (value[INDEX["compute_rate"]] * of_each("efficiency"))
    moving = todo.product_bytes * of_each("traffic") / value[INDEX["memory_rate"]]
    return _larger(multiplying, moving, SHARPNESS)


def _larger(left: Floats, right: Floats, sharpness: Literal[3, 6]) -> Floats:
    """The larger of two times, rounded off where they are alike: what overlaps never overlaps wholly.

    The third or sixth root of the sum of such powers, by what is faster than powers of any size.
    """
    left_cubed, right_cubed = left * left * left, right * right * right
    if sharpness == HOST_SHARPNESS:
        return np.asarray(np.cbrt(np.sqrt(left_cubed * left_cubed + right_cubed * right_cubed)))
    return np.asarray(np.cbrt(left_cubed + right_cubed))


def parts_s(logarithms: Floats, step: Step) -> dict[str, float]:
    """Seconds of device time of one step, by kind of product and of traffic."""
    todo, value = work([step]), np.exp(logarithms)
    products = np.bincount(todo.kind, todo.count * _product_s(value, todo), len(PRODUCTS))
    named = zip((*PRODUCTS, *TRAFFIC), (*products, *_moving_s(value, todo)[0]), strict=True)
    return {name: float(time_s) for name, time_s in named if time_s > 0}
