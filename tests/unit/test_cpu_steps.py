"""What costs time on a CPU and hides on a GPU, by hand."""

import numpy as np
import pytest

from sim.calibration.fit import cpu_prior, general_prior
from sim.catalog import devices
from sim.catalog.networks import network
from sim.perf.device import Setting
from sim.perf.operators import Model, Operator
from sim.perf.step_time import (
    FRESH_BYTES,
    GROUPS,
    INDEX,
    OPTIONAL,
    PASSES,
    Floats,
    Step,
    group,
    groups_s,
    step_s,
    work,
)

CPU = cpu_prior().centre
MEMORY_RATE = np.exp(CPU[INDEX["memory_rate"]])
KERNEL_S = np.exp(CPU[INDEX["kernel_s"]])


def factor(name: str) -> float:
    return float(np.exp(CPU[INDEX[name]]))


def alone(operator: Operator, batch: int = 4, at: Floats = CPU) -> dict[str, float]:
    """Seconds by group of a step that is this operator alone."""
    model = Model(name="one", parameters=0, input_shape=(1,), operators=(operator,))
    return dict(zip(GROUPS, groups_s(at, work([Step(model, batch, "fp32")]))[0].tolist(), strict=True))


def test_a_pooling_takes_the_positions_of_its_window_and_its_start() -> None:
    found = alone(Operator(kind="pooling", count=2, input_elements=400, output_elements=100, taps=9))
    through = 4 * 4 * (PASSES["pooling"][0] * 400 + PASSES["pooling"][1] * 100) * factor("traffic.pooling")
    window = 4 * 4 * 100 * (9 + 3) * factor("traffic.pooling_window")
    assert found["other"] == pytest.approx(2 * ((through + window) / MEMORY_RATE + 3 * KERNEL_S))
    assert sum(found.values()) == found["other"]


def test_a_convolution_starts_three_times_a_step() -> None:
    operator = Operator(
        kind="convolution", count=1, macs=64, input_elements=8, output_elements=8, weight_elements=1,
        gemm_m=1, gemm_n=8, gemm_k=8,
    )  # fmt: skip
    without = CPU.copy()
    without[INDEX["convolution_s"]] = np.log(1e-30)
    gained = alone(operator)["convolution"] - alone(operator, at=without)["convolution"]
    assert gained == pytest.approx(3 * factor("convolution_s"))


def test_depthwise_convolutions_beyond_3_x_3_are_slow() -> None:
    def depthwise(taps: int) -> float:
        operator = Operator(
            kind="depthwise_convolution", count=1, macs=10**5 * taps, input_elements=10**5,
            output_elements=10**5, weight_elements=1000 * taps, gemm_m=100, gemm_n=1, gemm_k=taps,
            groups=1000, taps=taps,
        )  # fmt: skip
        return alone(operator)["depthwise_convolution"]

    moved = 3 * 4 * (4 * 2e5 + 25_000) * (factor("traffic.depthwise") + 25 * factor("traffic.depthwise_taps"))
    taps = 25 * factor("traffic.wide_depthwise_taps")
    wide = 4 * 4 * 2e5 * (factor("traffic.wide_depthwise") + taps)
    weights = 4 * 25_000 * factor("traffic.wide_depthwise_weights")
    start = 3 * (KERNEL_S + factor("convolution_s")) + factor("weight_s")
    assert depthwise(25) == pytest.approx((moved + wide + weights) / MEMORY_RATE + start, rel=0.05)
    assert depthwise(25) > 3 * depthwise(9)


@pytest.mark.parametrize(
    ("colours", "slower"),
    [
        (1, {"image": False, "half_length.spatial": False}),
        (3, {"image": True, "half_length.spatial": True}),
        (8, {"image": False, "half_length.spatial": True}),
    ],
)
def test_images_of_several_colours_are_slow_to_read(colours: int, slower: dict[str, bool]) -> None:
    """One colour lies in memory alike in every layout; what is no image takes no longer for being one."""

    def passes_s(changed: str | None = None) -> float:
        at = CPU.copy()
        if changed:
            at[INDEX[changed]] += 2
        at[INDEX["half_columns.spatial"]] = np.log(1e-9)  # of the gradients of weights
        operator = Operator(
            kind="convolution", count=1, macs=10**9 * colours, input_elements=1, output_elements=1,
            weight_elements=1, gemm_m=10**6, gemm_n=32, gemm_k=25 * colours, taps=25,
        )  # fmt: skip
        return alone(operator, at=at)["convolution"]

    for name, expected in slower.items():
        longer = passes_s(name) > 1.05 * passes_s()
        assert longer == expected, name


def test_large_tensors_come_fresh_from_the_system() -> None:
    large = FRESH_BYTES // 4 + 1

    def written(elements: int) -> float:
        return alone(Operator(kind="copy", count=1, input_elements=1, output_elements=elements), batch=1)[
            "other"
        ]

    step = written(large) - written(large - 1)
    assert step == pytest.approx(4 * large * factor("traffic.fresh") / MEMORY_RATE, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("attention", "matrix_product"), ("loss", "other"), ("layer_normalisation", "normalisation")],
)
def test_small_kinds_are_measured_together(kind: str, name: str) -> None:
    assert GROUPS[group(kind)] == name


def test_groups_add_up_to_the_device_time() -> None:
    todo = work([Step(network("resnet50"), 8, "fp32"), Step(network("vgg11"), 2, "fp32")])
    fixed = np.exp(CPU[INDEX["step_s"]])
    assert step_s(CPU, todo) == pytest.approx(groups_s(CPU, todo).sum(axis=1) + fixed, rel=1e-3)


def test_a_device_that_says_nothing_of_them_has_none_of_these_costs() -> None:
    setting = devices.device("rtx-3090").settings[0]
    written = {name: value for name, value in setting.parameters.items() if name not in OPTIONAL}
    read = Setting.model_validate(setting.model_dump() | {"parameters": written})
    assert read.parameters == setting.parameters
    wide = Model(
        name="wide", parameters=10**8, input_shape=(1,),
        operators=(Operator(kind="copy", count=1, input_elements=10**8, output_elements=10**8),),
    )  # fmt: skip
    todo = work([Step(wide, 1, "fp32")])
    with_costs = read.logarithms.copy()
    with_costs[INDEX["traffic.fresh"]] = np.log(10)
    assert step_s(with_costs, todo)[0] > 1.3 * step_s(read.logarithms, todo)[0]
    assert general_prior().spread[[INDEX[name] for name in OPTIONAL]].max() == 0
