"""Times of steps and of their phases."""

import time

import pytest

from train.timing import Repeats, Watch, host_watch, phases_s, timed_s


def at_rest() -> None:
    pass


def test_every_repetition_is_kept() -> None:
    taken: list[int] = []
    times_s = timed_s(lambda: taken.append(1), 5, at_rest, steps=3)
    assert (len(times_s), len(taken)) == (5, 15)


def test_the_device_is_waited_for_before_and_after_each_repetition() -> None:
    told: list[str] = []
    timed_s(lambda: told.append("step"), 2, lambda: told.append("wait"))
    assert told == ["wait", "step", "wait", "wait", "step", "wait"]


def test_a_repetition_of_several_steps_tells_the_time_of_one() -> None:
    spin_until = 0.002

    def step() -> None:
        end = time.perf_counter() + spin_until
        while time.perf_counter() < end:
            pass

    assert min(timed_s(step, 3, at_rest, steps=4)) == pytest.approx(spin_until, rel=0.2)


@pytest.mark.parametrize(
    ("budget_s", "step_s", "found"),
    [
        (1.0, 0.1, Repeats(10, 1)),
        (1.0, 3.0, Repeats(2, 1)),
        (9.0, 0.01, Repeats(40, 1)),
        (0.1, 0.0001, Repeats(20, 50)),
    ],
)
def test_as_many_repetitions_as_fit(budget_s: float, step_s: float, found: Repeats) -> None:
    assert Repeats.within(budget_s, step_s) == found


def test_phases_are_the_times_between_marks() -> None:
    clock = iter([10.0, 11.0, 13.0, 13.5])
    watch = Watch(lambda: next(clock), lambda before, after: after - before)
    watch.start()
    for phase in ("forward", "backward", "forward"):
        watch.mark(phase)  # type: ignore[arg-type]
    assert watch.read() == {"forward": 1.5, "backward": 2.0}


def test_phases_of_a_step_add_up_to_it() -> None:
    found = phases_s(lambda mark: (mark("data"), mark("forward")), 4, host_watch(), at_rest)
    assert {phase: len(times_s) for phase, times_s in found.items()} == {"data": 4, "forward": 4}
