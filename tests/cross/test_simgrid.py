"""Finish times of flows equal those of SimGrid's plain max-min model.

What SimGrid said is in tests/data/simgrid_finish_times.csv: the first 600 flows of each load and seed, by
``benchmarks.flows.simgrid_finish_times`` with Debian's libsimgrid-dev 3.32. Where SimGrid and a compiler are
installed, it is asked again.
"""

import csv
from pathlib import Path

import pytest

from benchmarks.flows import finish_times, flows, simgrid, simgrid_finish_times

DATA = Path(__file__).resolve().parents[1] / "data" / "simgrid_finish_times.csv"
COUNT, HOSTS = 600, 256


@pytest.fixture(scope="module")
def told() -> dict[tuple[float, int], list[float]]:
    found: dict[tuple[float, int], list[float]] = {}
    with DATA.open() as file:
        for row in csv.DictReader(file):
            found.setdefault((float(row["load"]), int(row["seed"])), []).append(float(row["end_s"]))
    return found


@pytest.mark.parametrize(("load", "seed"), [(0.3, 1), (0.8, 2), (1.2, 3)])
def test_random_flows_on_256_hosts_end_when_simgrid_says(
    told: dict[tuple[float, int], list[float]], load: float, seed: int, tmp_path: Path
) -> None:
    todo = flows(COUNT, HOSTS, load, seed)
    ends, _, _ = finish_times(todo, HOSTS)
    assert ends == pytest.approx(told[load, seed], rel=1e-9)
    program = simgrid(tmp_path)
    if program is not None:
        theirs, _ = simgrid_finish_times(program, todo, HOSTS)
        assert ends == pytest.approx(theirs, rel=1e-9)
