"""Steps on several devices: what they take besides is recovered, and the measured ones are predicted."""

from dataclasses import replace

import numpy as np
import pytest

from sim.calibration.of_profile import _fit_scaling, _scaled_s, _Together, pooled
from sim.catalog.devices import device
from sim.catalog.networks import network
from sim.perf.device import training_step
from sim.profile import TrainingRow

TRUTH = np.log([0.1, 0.5, 0.004, 4e-10])


def rows() -> list[_Together]:
    draw = np.random.default_rng(2)
    made = []
    shapes = [(0.01, 0.001, 5e7), (0.1, 0.02, 1e6), (0.3, 0.01, 2e8), (0.05, 0.05, 5e6)]
    for number, (alone_s, reduce_s, size) in enumerate(shapes * 4):
        world, slower = 2 + 2 * (number // 8), 1 + number / 8
        row = _Together(f"network{number % 4}", world, alone_s * slower, reduce_s, size, 1.0)
        made.append(replace(row, step_s=_scaled_s(TRUTH, row) * float(np.exp(draw.normal(0, 0.01)))))
    return made


def test_waiting_hiding_copies_and_the_fixed_time_are_recovered() -> None:
    found = np.exp(_fit_scaling(rows()))
    assert found == pytest.approx(np.exp(TRUTH), rel=0.25)
    errors = [_scaled_s(np.log(found), row) / row.step_s - 1 for row in rows()]
    assert np.abs(errors).mean() < 0.015


def test_the_device_of_the_catalog_says_how_wrong_it_is_on_two_processes() -> None:
    known = device("cpu-2-cores")
    assert known.together is not None
    assert known.together.n == 10
    assert known.together.mape < 0.07


@pytest.mark.parametrize("name", ["sync_s", "copy_s_per_byte"])
def test_a_step_on_two_devices_takes_the_fixed_time_and_its_copies_more(name: str) -> None:
    known = device("cpu-2-cores")
    model = network("resnet18", 64)
    both, without = (
        training_step(model, each, 8, "fp32", world=2).step_s
        for each in (known, known.model_copy(update={name: 0.0}))
    )
    more = {"sync_s": known.sync_s, "copy_s_per_byte": known.copy_s_per_byte * 4 * model.parameters}
    assert both - without == pytest.approx(more[name])
    assert more[name] > 0


def row_of(*step_s: float, **fields: object) -> TrainingRow:
    known = {"model": "resnet18", "batch_per_device": 8, "step_s": step_s, "pass_index": (0,) * len(step_s)}
    return TrainingRow.model_validate(known | fields)


def test_repetitions_of_one_configuration_count_together() -> None:
    rows = [
        row_of(2.0, 3.0, peak_memory_bytes=5.0, operators_s={"spatial": (1.0,)}),
        row_of(1.0, batch_per_device=16),
        row_of(4.0, peak_memory_bytes=6.0, operators_s={"spatial": (2.0,)}),
        row_of(9.0, optimizer="adam"),
        row_of(status="out_of_memory", reason="too much"),
    ]
    first, *others = pooled(rows)
    assert (first.step_s, first.pass_index) == ((2.0, 3.0, 4.0), (0, 0, 1))
    assert (first.operators_s, first.peak_memory_bytes) == ({"spatial": (1.0, 2.0)}, 6.0)
    assert [each.step_s for each in others] == [(1.0,), (9.0,)]


def test_looks_into_other_kinds_of_operators_are_not_mixed() -> None:
    rows = [row_of(2.0, operators_s={"spatial": (1.0,)}), row_of(4.0, operators_s={"pointwise": (2.0,)})]
    assert pooled(rows)[0].operators_s == {"spatial": (1.0,)}
    assert pooled([row_of(2.0), rows[0]])[0].operators_s == {"spatial": (1.0,)}
