"""What was in use over time."""

from itertools import pairwise

import pytest

from sim.flows import Fluid
from sim.meters import FIRST_STEP_S, MOST, Meter


class Clock:
    """Calls that are due."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, object]] = []

    def call_at(self, time_s: float, what: object) -> None:
        self.calls.append((time_s, what))

    def run(self, until_s: float) -> None:
        while self.calls and self.calls[0][0] <= until_s:
            time_s, what = self.calls.pop(0)
            what(time_s)  # type: ignore[operator]


def test_samples_add_up_to_what_was_carried_and_grow_sparser() -> None:
    fluid, clock = Fluid(), Clock()
    link = fluid.resource("link", 2.0)
    fluid.add(float("inf"), {link: 1.0}, 0.0, cap=1.0)
    meter = Meter(fluid, [link], clock.call_at, lambda: True)
    meter.begin(0.0)
    meter.begin(5.0)  # already looks
    clock.run(3 * MOST * FIRST_STEP_S)
    assert meter.step_s == 4 * FIRST_STEP_S
    assert len(meter.times_s) <= MOST + 1
    assert meter.times_s == sorted(meter.times_s)
    for (one_s, other_s), (one, other) in zip(pairwise(meter.times_s), pairwise(meter.carried), strict=True):
        assert other[0] - one[0] == pytest.approx(other_s - one_s)


def test_nobody_looks_while_nothing_runs() -> None:
    fluid, clock, runs = Fluid(), Clock(), [True]
    meter = Meter(fluid, [fluid.resource("link", 1.0)], clock.call_at, lambda: runs[0])
    meter.begin(0.0)
    runs[0] = False
    clock.run(10 * FIRST_STEP_S)
    assert meter.times_s == [0.0, FIRST_STEP_S]
    runs[0] = True
    meter.begin(1000.0)
    assert meter.times_s[-1] == 1000.0
