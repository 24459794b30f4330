"""What a fleet draws and costs, by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import results, staging
from sim.fleet import Pool
from sim.power import Draw, Load, Power, draw, drawn
from sim.reports import answer
from sim.results import Results
from sim.scenario import Scenario
from sim.workloads.jobs import WorkloadJobs
from tests.support.playing import jobs

HOUR = 3600.0
PLAIN = {"working": 1.0, "waiting": 0.5, "idle": 0.1, "host": 1000.0, "pue": 1.25}


def played(power: dict[str, Any], rows: list[tuple[float, float, int]], **parts: Any) -> Results:
    pool = {"name": "p", "node": "dgx-h100", "nodes": 2, "price_per_gpu_hour": 2.0} | parts.pop("pool", {})
    wanted = Scenario.model_validate(
        {
            "name": "small",
            "fleet": {"pools": [pool]},
            "scheduler": {"order": "fifo", "blocking": "strict"},
            "workloads": [{"kind": "trace", "path": "jobs.csv"}],
            "power": power,
            **parts,
        }
    )
    table = jobs(*rows)
    return results.from_log(
        wanted, WorkloadJobs(table, {}), staging.simulate(wanted, table), staging.nodes(wanted)
    )


def test_a_node_of_eight_h100_draws_what_was_measured() -> None:
    """8.4 kW at most (arXiv 2412.08602), about 76 % of 10.2 kW in heavy training (arXiv 2506.14551)."""
    pool = Pool(name="p", node="dgx-h100", nodes=1)
    usual, full = draw(Power(), pool), draw(Power(working=1.0), pool)
    assert 8 * full.working_w + full.host_w == pytest.approx(8400, rel=0.01)
    assert 8 * usual.working_w + usual.host_w == pytest.approx(0.76 * 10_200, rel=0.01)


def test_idle_power_is_the_catalogs_where_it_is_known() -> None:
    assert draw(Power(), Pool(name="p", node="dgx-a100", nodes=1)).idle_w == 60.0
    assert draw(Power(), Pool(name="p", node="dgx-h100", nodes=1)).idle_w == pytest.approx(0.15 * 700)
    assert draw(Power(idle=0.2), Pool(name="p", node="dgx-a100", nodes=1)).idle_w == pytest.approx(80)


def test_energy_and_cost_of_two_nodes_by_hand() -> None:
    """Ten hours: one node works for six of them, the other is idle; 700 W rated, 70 W idle, 1 kW a host."""
    found = played(
        PLAIN | {"price_per_kwh": 0.1, "carbon_per_kwh": 0.4}, [(0, 6 * HOUR, 8), (9 * HOUR, HOUR, 1)]
    )
    # 16 GPUs idle and two hosts for ten hours; 8 GPUs at 630 W more for six, one for one
    kwh = 10 * (16 * 0.07 + 2) + 6 * 8 * 0.63 + 0.63
    assert found.metric("energy_mwh") == pytest.approx(kwh * 1.25 / 1e3)
    assert found.metric("power_mean_kw") == pytest.approx(kwh / 10)
    assert found.metric("power_peak_kw") == pytest.approx(16 * 0.07 + 2 + 8 * 0.63)
    assert found.metric("power_p99_kw") == pytest.approx(16 * 0.07 + 2 + 8 * 0.63)
    assert found.metric("gpu_cost") == pytest.approx(16 * 10 * 2.0)
    assert found.metric("energy_cost") == pytest.approx(kwh * 1.25 * 0.1)
    assert found.metric("carbon_t") == pytest.approx(kwh * 1.25 * 0.4 / 1e3)
    whole = 320 + kwh * 1.25 * 0.1
    assert found.metric("cost_per_useful_gpu_h") == pytest.approx(whole / 49)
    told = " ".join(answer.sentences(found))
    assert "Nodes drew" in told
    assert "An hour of a GPU's work that counted cost" in told


def test_waiting_draws_less_than_working() -> None:
    """Four hours of work with three checkpoints of an hour: seven hours held, four of them at work."""
    rule = {"every": HOUR, "write": HOUR}
    found = played(PLAIN, [(0, 4 * HOUR, 8)], checkpoints=[rule], pool={"nodes": 1})
    kwh = 7 * (8 * 0.07 + 1) + 8 * (4 * 0.63 + 3 * 0.28)
    assert found.metric("energy_mwh") == pytest.approx(kwh * 1.25 / 1e3)


@given(
    stays=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 4), st.floats(0, 90), st.floats(0, 90), st.floats(0, 1)),
        max_size=8,
    )
)
def test_energy_is_the_area_under_power_and_the_sum_over_nodes(
    stays: list[tuple[int, int, float, float, float]],
) -> None:
    columns = [np.array(each) for each in zip(*stays, strict=True)] or [np.zeros(0)] * 5
    node, gpus, one_s, other_s, working = columns
    load = Load(
        node.astype(np.int64),
        gpus.astype(np.int64),
        np.minimum(one_s, other_s),
        np.maximum(one_s, other_s),
        working,
    )
    draws = [Draw(700.0, 300.0, 100.0, 900.0), Draw(400.0, 100.0, 60.0, 500.0)]
    racks, supply = np.array([0, 1, 1, 1]), Power(supply_fixed=17.0, supply_efficiency=0.96)
    found = drawn(load, draws, np.array([0, 0, 1, 1]), np.array([8, 8, 4, 4]), 10.0, 80.0, racks, supply)
    area_j = float((found.power_w * np.diff(found.time_s)).sum())
    assert found.energy_j == pytest.approx(area_j, rel=1e-9)
    assert found.quantile_w(1.0) == pytest.approx(found.peak_w)
    assert found.peak_w >= found.mean_w * (1 - 1e-9)
    assert found.rack_peak_w.max() - 1e-6 <= found.peak_w <= found.rack_peak_w.sum() + 1e-6
    assert (found.rack_p99_w <= found.rack_peak_w).all()
    assert found.weighted_j([1.0] * 24) == pytest.approx(found.energy_j)


@pytest.mark.parametrize(
    ("pool", "power", "told"),
    [
        ({"node": None, "gpus_per_node": 8}, {}, "needs to know the GPU of pool p"),
        ({"node": None, "gpu": "h100-sxm5-80gb", "gpus_per_node": 8}, {}, "needs host"),
        ({}, {"working": 1.5}, "less than or equal to 1"),
        ({}, {"pue": 0.9}, "greater than or equal to 1"),
    ],
)
def test_what_is_not_known_is_asked_for(pool: dict[str, Any], power: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        played(power, [(0, HOUR, 1)], pool=pool)


def test_an_hour_counts_with_its_own_carbon_and_price() -> None:
    """A node is busy from 0:00 to 1:30; energy is free of carbon and price until 1:00."""
    factors = [0.0, 1.0, *([5.0] * 22)]
    spec = PLAIN | {
        "carbon_per_kwh": 1.0,
        "carbon_by_hour": factors,
        "price_per_kwh": 1.0,
        "price_by_hour": factors,
    }
    found = played(spec, [(0, 1.5 * HOUR, 8), (1.75 * HOUR, 0.25 * HOUR, 1)])
    # from 1:00 to 2:00: 16 idle GPUs of 70 W, two hosts of 1 kW, 630 W more for 4 and for 1/4 GPU h
    kwh = 1.25 * (16 * 0.07 + 2.0 + 8 * 0.63 / 2 + 0.63 / 4)
    assert found.metric("carbon_t") == pytest.approx(kwh / 1000)
    assert found.metric("energy_cost") == pytest.approx(kwh)


def test_supplies_lose_a_fixed_part_and_a_share() -> None:
    lossless, lossy = (
        played(PLAIN | extra, [(0, HOUR, 8)]).metric("energy_mwh") or 0.0
        for extra in ({}, {"supply_fixed": 17.0, "supply_efficiency": 0.96})
    )
    assert lossy == pytest.approx((lossless + 1.25 * 2 * 17e-6) / 0.96)


def test_a_hall_short_of_power_slows_all_jobs_alike_and_never_draws_more() -> None:
    """Two nodes: 2 kW of hosts, 16 GPUs of 350 W waiting and 700 W working: 7.6 to 13.2 kW.

    A limit of 10.4 kW leaves half of what two jobs need: they take twice as long; the third has enough alone.
    """
    spec = PLAIN | {"limit": 10_400.0}
    found = played(spec, [(0, HOUR, 8), (0, HOUR, 8), (3 * HOUR, HOUR, 8)])
    assert found.tables["jobs"]["end_s"].to_list() == [pytest.approx(t * HOUR) for t in (2, 2, 4)]
    assert found.metric("power_peak_kw") == pytest.approx(10.4)
    assert found.metric("contention_gpu_h") == pytest.approx(16.0)
    links = dict(found.tables["links"].select("name", "lost_gpu_h").rows())
    assert links == {"power of the hall": pytest.approx(16.0)}


def test_a_rack_short_of_power_slows_its_own_jobs_only() -> None:
    """One node a rack: 1 kW and 8 GPUs; 5.2 kW leave half of the power of one job."""
    spec = PLAIN | {"rack_limit": 5200.0}
    found = played(spec, [(0, HOUR, 8), (0, HOUR, 4)], pool={"nodes_per_rack": 1})
    assert found.tables["jobs"]["end_s"].to_list() == [pytest.approx(2 * HOUR), pytest.approx(HOUR)]
    assert found.metric("rack_peak_kw") == pytest.approx(5.2)


def test_capped_gpus_draw_their_cap_and_are_slower_by_the_cube_root() -> None:
    """Of 630 W beyond idle 300 are left: 0.78 of the speed."""
    found = played(PLAIN | {"gpu_cap": 370.0}, [(0, HOUR, 8)])
    pace = (300 / 630) ** (1 / 3)
    (end_s,) = found.tables["jobs"]["end_s"].to_list()
    assert end_s == pytest.approx(HOUR / pace)
    assert found.metric("power_peak_kw") == pytest.approx(2.0 + 8 * 0.37 + 8 * 0.07)


@pytest.mark.parametrize(
    ("power", "told"),
    [
        ({"limit": 7000.0}, "leaves nothing for work"),
        ({"rack_limit": 3000.0}, "leaves nothing for work"),
        ({"gpu_cap": 200.0}, "gpu_cap must be more than"),
        ({"carbon_by_hour": (1.0, 2.0)}, "needs 24 factors, not 2"),
    ],
)
def test_limits_that_cannot_be_are_refused(power: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        played(PLAIN | power, [(0, HOUR, 8)])


def test_tenants_pay_for_what_they_hold_and_share_what_is_idle() -> None:
    """Sixteen GPUs at 2 an hour for ten hours; one tenant holds three times as much as the other."""
    table = jobs((0, 6 * HOUR, 8), (0, 4 * HOUR, 4), tenant=("a", "b"))
    pool = {"name": "p", "node": "dgx-h100", "nodes": 2, "price_per_gpu_hour": 2.0}
    wanted = Scenario.model_validate(
        {
            "name": "small", "fleet": {"pools": [pool]}, "horizon": 10 * HOUR,
            "scheduler": {"order": "fifo", "blocking": "strict"},
            "workloads": [{"kind": "trace", "path": "jobs.csv"}],
        }
    )  # fmt: skip
    found = results.from_log(
        wanted, WorkloadJobs(table, {}), staging.simulate(wanted, table), staging.nodes(wanted)
    )
    assert found.metric("gpu_cost") == pytest.approx(320)
    assert found.metric("cost", tenant="a") == pytest.approx(240)
    assert found.metric("cost", tenant="b") == pytest.approx(80)
    assert found.metric("cost_per_useful_gpu_h", tenant="b") == pytest.approx(80 / 16)
    assert found.tables["jobs"]["cost"].to_list() == [pytest.approx(240), pytest.approx(80)]


def test_mean_power_of_the_acme_cluster_follows_from_its_phases() -> None:
    """168.4 W a GPU on average (Seren, A100 of 400 W; AcmeTrace, CC-BY-4.0, DCGM of March to August 2023).

    Utilisation, 66.1 % on average, says when GPUs are free; the quantiles of power, 96.5 W at 50 % and
    290.2 W at 75 %, say for how long they draw more than halfway from waiting to working. Linear in
    utilisation would be 285 W.
    """
    known = draw(Power(), Pool(name="p", node="dgx-a100", nodes=1))
    halfway_w = (known.waiting_w + known.working_w) / 2
    working = 1 - (0.5 + 0.25 * (halfway_w - 96.5) / (290.2 - 96.5))
    free = 1 - 0.661
    mean_w = free * known.idle_w + (1 - free - working) * known.waiting_w + working * known.working_w
    assert mean_w == pytest.approx(168.4, rel=0.05)
