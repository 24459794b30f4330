"""Steps on several devices: what they take besides is recovered, and the measured ones are predicted."""

from dataclasses import replace

import numpy as np
import pytest

from sim.calibration.of_profile import _fit_scaling, _scaled_s, _Together
from sim.catalog.devices import device
from sim.catalog.networks import network
from sim.perf.device import training_step

TRUTH = np.log([0.1, 0.5, 0.004])


def rows() -> list[_Together]:
    draw = np.random.default_rng(2)
    made = []
    for number, (alone_s, reduce_s) in enumerate([(0.01, 0.001), (0.1, 0.02), (0.3, 0.01), (0.05, 0.05)] * 4):
        row = _Together(
            f"network{number % 4}", 2 + 2 * (number // 8), alone_s * (1 + number / 8), reduce_s, 1.0
        )
        made.append(replace(row, step_s=_scaled_s(TRUTH, row) * float(np.exp(draw.normal(0, 0.01)))))
    return made


def test_waiting_hiding_and_the_fixed_time_are_recovered() -> None:
    found = np.exp(_fit_scaling(rows()))
    assert found == pytest.approx(np.exp(TRUTH), rel=0.25)
    errors = [_scaled_s(np.log(found), row) / row.step_s - 1 for row in rows()]
    assert np.abs(errors).mean() < 0.015


def test_the_device_of_the_catalog_says_how_wrong_it_is_on_two_processes() -> None:
    known = device("cpu-2-cores")
    assert known.together is not None
    assert known.together.n == 20
    assert known.together.median < 0.1


def test_a_step_on_two_devices_takes_the_fixed_time_more() -> None:
    known = device("cpu-2-cores")
    model = network("resnet18", 64)
    both, without = (
        training_step(model, each, 8, "fp32", world=2).step_s
        for each in (known, known.model_copy(update={"sync_s": 0.0}))
    )
    assert both - without == pytest.approx(known.sync_s)
