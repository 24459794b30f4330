"""Finish times of flows equal those of SimGrid's plain max-min model (Debian: libsimgrid-dev and g++)."""

from pathlib import Path

import pytest

from benchmarks.flows import finish_times, flows, simgrid, simgrid_finish_times


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = simgrid(tmp_path_factory.mktemp("simgrid"))
    if found is None:
        pytest.skip("SimGrid or a compiler is not installed (Debian: libsimgrid-dev, g++)")
    return found


@pytest.mark.parametrize(("load", "seed"), [(0.3, 1), (0.8, 2), (1.2, 3)])
def test_random_flows_on_256_hosts_end_when_simgrid_says(program: Path, load: float, seed: int) -> None:
    todo = flows(1_500, 256, load, seed)
    ends, _, _ = finish_times(todo, 256)
    theirs, _ = simgrid_finish_times(program, todo, 256)
    assert ends == pytest.approx(theirs, rel=1e-6)
