"""The order of a sweep, what it keeps, and what an interrupt leaves."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra train brings torch")

from sim.profile import Profile, Row, TrainingRow, read, write
from tests.support.profiles import MACHINE, row
from train.measure.sweep import Sweep, joined, order


@dataclass
class Job:
    """Yields one row with two repetitions, or what it is told to do instead."""

    batch: int
    log: list[int] = field(default_factory=list)
    interrupts_in: int | None = None
    fails_in: int | None = None
    measured: int = 0

    def measure(self, budget_s: float, *, first: bool) -> Iterator[Row]:
        assert budget_s > 0
        assert first == (self.measured == 0)
        self.measured += 1
        self.log.append(self.batch)
        if self.measured == self.interrupts_in:
            raise KeyboardInterrupt
        if self.measured == self.fails_in:
            yield row(batch=self.batch, step_s=(), pass_index=(), status="failed", reason="a cosmic ray")
            return
        yield row(
            batch=self.batch,
            step_s=(0.1, 0.2),
            pass_index=(0, 0),
            flops_per_step=1e9 if first else None,
            phases_s={"forward": (0.1,)},
            operators_s={"convolution": (0.05,)},
        )


def sweep(*jobs: Job, out: Path | None = None, total_s: float = 60.0, passes: int = 3) -> Sweep:
    def keep(known: Profile) -> None:
        if out is not None:
            write(known, out)

    return Sweep(jobs, MACHINE, {}, passes, total_s, keep)


def test_every_repetition_of_every_pass_is_kept() -> None:
    (found,) = sweep(Job(8)).run().training
    assert found.pass_index == (0, 0, 1, 1, 2, 2)
    assert found.step_s == (0.1, 0.2) * 3
    assert found.phases_s == {"forward": (0.1,) * 3}
    assert found.operators_s == {"convolution": (0.05,) * 3}
    assert found.flops_per_step == 1e9


def test_each_pass_has_an_order_of_its_own_that_the_seed_fixes() -> None:
    jobs = [Job(batch) for batch in range(1, 30)]
    orders = [order(jobs, seed, index) for seed in (0, 1) for index in (0, 1)]
    assert all(sorted(found, key=lambda job: job.batch) == jobs for found in orders)
    assert len({tuple(job.batch for job in found) for found in orders}) == 4
    assert order(jobs, 0, 1) == orders[1]


def test_when_the_time_is_over_a_part_is_repeated_to_show_drift() -> None:
    log: list[int] = []
    found = sweep(*(Job(batch, log) for batch in range(1, 9)), total_s=0.0).run()
    assert len(log) == 8 + 2 + 2
    assert len(found.training) == 8


def test_an_interrupt_leaves_a_sound_file_with_what_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    jobs = [Job(batch, interrupts_in=2 if batch == 5 else None) for batch in range(1, 9)]
    with pytest.raises(KeyboardInterrupt):
        sweep(*jobs, out=out).run()
    left = read(out)
    assert not left.complete
    assert len(left.training) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]


def test_a_finished_sweep_says_so(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    sweep(Job(1), out=out).run()
    assert read(out).complete


def test_a_configuration_that_fails_once_keeps_what_it_had() -> None:
    (found,) = sweep(Job(8, fails_in=2)).run().training
    assert (found.status, found.pass_index) == ("ok", (0, 0, 2, 2))


def test_a_configuration_that_fails_first_stays_failed() -> None:
    (found,) = sweep(Job(8, fails_in=1)).run().training
    assert (found.status, found.reason) == ("failed", "a cosmic ray")


def test_reasons_of_throttling_are_collected() -> None:
    found = joined(row(throttled_by=("heat",)), row(throttled_by=("power", "heat")))
    assert isinstance(found, TrainingRow)
    assert found.throttled_by == ("heat", "power")
