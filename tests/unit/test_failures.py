"""What fails and when: rates, victims, repairs, logs."""

from pathlib import Path

import numpy as np
import pytest

from sim.errors import TraceError
from sim.failures import Component, Failures, FailureTimes, Lemons, RepairShop
from sim.failures.spec import preset, preset_names
from sim.failures.times import Failure, Hall
from sim.statistics import t_interval

HOUR, DAY = 3600.0, 86400.0
SMALL = Hall([8] * 16, [tuple(range(n, n + 4)) for n in range(0, 16, 4)], [f"n-{n:02d}" for n in range(16)])


def played(spec: Failures, hall: Hall, until_s: float, seed: int = 1, folder: Path = Path()) -> list[Failure]:
    times = FailureTimes(spec, hall, seed, folder)
    found = []
    while times.next_s < until_s:
        found.append(times.pop())
    return found


def one(**component: object) -> Failures:
    return Failures(components=(Component.model_validate({"name": "it"} | component),))


def test_llama_3_was_interrupted_419_times_in_54_days() -> None:
    """2,048 nodes at 3.79 failures per 1,000 node-days; the mean of 30 runs, inside its interval."""
    hall = Hall(
        [8] * 2048, [tuple(range(n, n + 4)) for n in range(0, 2048, 4)], [str(n) for n in range(2048)]
    )
    spec = Failures(preset="llama3")
    counts = [float(len(played(spec, hall, 54 * DAY, seed))) for seed in range(30)]
    interval = t_interval(counts, 0.99)
    assert interval.low < 419 < interval.high
    assert np.std(counts) == pytest.approx(np.sqrt(419), rel=0.35)
    assert spec.mean_time_between_s(16_384, 2048, 512) / HOUR == pytest.approx(3.0931, rel=1e-4)


def test_presets_say_where_their_rates_are_from() -> None:
    assert preset_names() == ("llama3", "rsc1", "rsc2")
    per_node_day = {
        name: 1000 * DAY / Failures(preset=name).mean_time_between_s(8, 1, 0) for name in preset_names()
    }
    published = {"llama3": 3.7887, "rsc1": 6.50, "rsc2": 2.34}
    assert per_node_day == {name: pytest.approx(rate, rel=1e-3) for name, rate in published.items()}
    assert sum(component.per == "gpu" for component in preset("llama3")) == 3


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0])
def test_times_between_failures_have_their_mean(shape: float) -> None:
    found = played(one(per="node", mean_time_between=100 * HOUR, shape=shape), SMALL, 40_000 * HOUR)
    # ageing components begin new, so early in their lives they fail more or less often
    assert len(found) == pytest.approx(16 * 400, rel=0.05)
    times = [failure.time_s for failure in found]
    assert times == sorted(times)


def test_victims_are_even_and_lemons_fail_as_many_times_more() -> None:
    even = played(one(per="gpu", mean_time_between=1000 * HOUR), SMALL, 80_000 * HOUR)
    hits = np.bincount([failure.nodes[0] for failure in even], minlength=16)
    assert hits.min() > 0.8 * hits.mean()
    spec = one(per="node", mean_time_between=1000 * HOUR)
    spec = spec.model_copy(update={"lemons": Lemons(share=0.25, times=10.0)})
    found = played(spec, SMALL, 100_000 * HOUR)
    hits = np.sort(np.bincount([failure.nodes[0] for failure in found], minlength=16))
    assert hits[-4:].mean() / hits[:-4].mean() == pytest.approx(10, rel=0.1)
    assert spec.mean_time_between_s(0, 16, 4) == pytest.approx(1000 * HOUR / 16 / (1 + 0.25 * 9))


@pytest.mark.parametrize("shape", [1.0, 1.5])
def test_lemons_stay_so_for_life_unless_a_repair_cures_them(shape: float) -> None:
    """Four of 16 nodes fail ten times as often; where each first repair cures, once more than others each."""
    spec = one(per="node", mean_time_between=1000 * HOUR, shape=shape)
    for cured, times in ((0.0, 10.0), (1.0, 1.0)):
        lemons = Lemons(share=0.25, times=10.0, cured=cured)
        told = FailureTimes(spec.model_copy(update={"lemons": lemons}), SMALL, 4)
        first = [int(node) for node in np.flatnonzero(np.array(told._weights) > 1.0)]
        hits = np.zeros(16)
        while (now_s := told.next_s) < 400_000 * HOUR:
            for node in told.pop().nodes:
                hits[node] += 1
                told.repaired(node, now_s)
        others = np.delete(hits, first)
        assert len(first) == 4
        assert others.mean() == pytest.approx(400, rel=0.05)
        assert hits[first].mean() / others.mean() == pytest.approx(times, rel=0.08)


def test_half_of_the_repairs_cure_half_of_the_lemons() -> None:
    lemons = Lemons(share=0.5, times=3.0, cured=0.5)
    hall = Hall([8] * 1000, [tuple(range(1000))], [str(n) for n in range(1000)])
    told = FailureTimes(Failures(lemons=lemons, preset="rsc1"), hall, 1)
    first_s = told.next_s
    for node in range(1000):
        told.repaired(node, 0.0)
    assert sum(weight == 3.0 for weight in told._weights) == pytest.approx(250, abs=40)
    left = sum(told._weights) / 2000  # of the rate that 500 lemons and 500 others had
    assert told.next_s == pytest.approx(first_s / left)


def test_a_rack_goes_with_what_its_nodes_share() -> None:
    feed = played(one(per="rack", mean_time_between=100 * HOUR), SMALL, 1000 * HOUR)
    assert all(failure.nodes in SMALL.racks for failure in feed)
    switch = played(one(per="node", takes="rack", mean_time_between=100 * HOUR), SMALL, 1000 * HOUR)
    assert all(failure.nodes in SMALL.racks for failure in switch)


def test_one_component_more_leaves_the_times_of_the_others() -> None:
    alone = played(one(per="node", mean_time_between=100 * HOUR), SMALL, 1000 * HOUR)
    other = Component(name="other", per="node", mean_time_between=50 * HOUR)
    both = Failures(components=(*one(per="node", mean_time_between=100 * HOUR).components, other))
    assert [failure for failure in played(both, SMALL, 1000 * HOUR) if failure.component == "it"] == alone
    assert played(both, SMALL, 1000 * HOUR) == played(both, SMALL, 1000 * HOUR)
    assert played(both, SMALL, 1000 * HOUR, seed=2) != played(both, SMALL, 1000 * HOUR)


def test_technicians_take_one_after_the_other() -> None:
    shop = RepairShop(2)
    assert [shop.done_s(now_s, 10.0) for now_s in (0.0, 1.0, 2.0, 3.0, 30.0)] == [10, 11, 20, 21, 40]
    assert RepairShop(None).done_s(5.0, 10.0) == 15.0
    assert RepairShop(1).done_s(5.0, 0.0) == 5.0


def test_a_log_of_failures_is_read_and_its_faults_are_told(tmp_path: Path) -> None:
    log = tmp_path / "failures.csv"
    log.write_text("time_s,node,repair_s,component\n50,n-03,100,gpu\n10,2,,\n")
    assert played(Failures(log=Path("failures.csv")), SMALL, 1e9, folder=tmp_path) == [
        Failure(10.0, "recorded", (2,), 0.0),
        Failure(50.0, "gpu", (3,), 100.0),
    ]
    log.write_text("time_s,node,repair_s\n-1,n-03,1\nsoon,n-03,1\n1,n-99,1\n1,n-01,nan\n")
    with pytest.raises(TraceError) as caught:
        played(Failures(log=Path("failures.csv")), SMALL, 1e9, folder=tmp_path)
    assert [fault.line for fault in caught.value.faults] == [2, 3, 4, 5]
    assert 'there is no node "n-99"' in str(caught.value)
    log.write_text("when,where\n1,2\n")
    with pytest.raises(TraceError, match="needs the columns time_s, node"):
        played(Failures(log=Path("failures.csv")), SMALL, 1e9, folder=tmp_path)
    with pytest.raises(TraceError, match="cannot be read"):
        played(Failures(log=Path("none.csv")), SMALL, 1e9, folder=tmp_path)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, "nothing fails"),
        ({"preset": "llama4"}, '"llama4" is not a preset of failures; did you mean "llama3"'),
        ({"preset": "llama3", "log": "x.csv"}, "a log says all that fails"),
        ({"components": [{"name": "a", "mean_time_between": 1.0}] * 2}, 'two components are called "a"'),
        ({"maintenance": {"every": 1.0, "lasts": 2.0, "nodes": 1}}, "a round must end before the next"),
        ({"components": [{"name": "a", "mean_time_between": 0.0}]}, "greater than 0"),
    ],
)
def test_failures_without_a_meaning_are_refused(written: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Failures.model_validate(written)
