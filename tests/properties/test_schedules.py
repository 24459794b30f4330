"""What no fleet, no scheduler and no jobs may break; every claim is checked from the log alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sim import arrivals, staging
from sim.blocking import BLOCKING
from sim.errors import PlanError
from sim.log import Log, Outcome
from sim.placement import PLACEMENT
from sim.policies import POLICIES
from sim.scenario import Scenario
from tests.support import playing
from tests.support.audit import Audit

TENANTS = ("ants", "bees", "cats")
KINDS = ("a100-sxm4-80gb", "h100-sxm5-80gb")
many = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def combinations() -> list[tuple[str, str, str]]:
    """Every order, blocking and placement that the scheduler accepts together."""
    accepted = []
    for order in POLICIES:
        for blocking in BLOCKING:
            for placement in PLACEMENT:
                try:
                    playing.scenario([playing.nodes(1, 1)], **scheduler(order, blocking, placement, 0.0))
                except ValidationError:
                    continue
                accepted.append((order, blocking, placement))
    return accepted


def scheduler(order: str, blocking: str, placement: str, patience: float) -> dict[str, Any]:
    parts: dict[str, Any] = {"order": {"kind": order}, "blocking": blocking, "placement": {"kind": placement}}
    if placement == "topology_aware":
        parts["placement"]["patience"] = patience
    if order == "las":
        parts["order"]["thresholds"] = (10.0, 30.0)
    if order == "fair_share":
        parts["order"]["resources"] = ("gpu", "cpu")
    return parts


COMBINATIONS = combinations()


@st.composite
def fleets(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One to three pools, some a virtual cluster of the tenant bees, some with cores and memory stated."""
    pools = []
    for at in range(draw(st.integers(1, 3))):
        nodes = draw(st.integers(1, 5))
        per_node = draw(st.sampled_from((1, 2, 4, 8)))
        pools.append(
            {
                "name": f"pool{at}",
                "nodes": nodes,
                "gpus_per_node": per_node,
                "nodes_per_rack": draw(st.integers(1, 3)),
                "scale_up_gpus": per_node * draw(st.integers(1, 2)),
                "gpu": draw(st.sampled_from((None, *KINDS))),
                "cpus_per_node": draw(st.sampled_from((None, None, 4.0 * per_node))),
                "memory_per_node": draw(st.sampled_from((None, None, 8.0 * per_node))),
                "virtual_cluster": draw(st.sampled_from((None, None, "bees"))),
            }
        )
    if all(pool["virtual_cluster"] for pool in pools):
        pools[0]["virtual_cluster"] = None
    return pools


@st.composite
def workloads(draw: st.DrawFn, *, whole: bool, host: bool = True) -> pl.DataFrame:
    """Up to sixteen jobs with many ties; whole seconds, or times that floats cannot tell exactly."""
    times: Callable[[float], Any] = (
        (lambda most: st.integers(0, int(most)).map(float))
        if whole
        else (lambda most: st.floats(0, most, allow_nan=False, width=32))
    )
    count = draw(st.integers(1, 16))

    def column(values: Any) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    rare = st.sampled_from((None, None, None, None, 1.0, 2.0, 5.0)) if host else st.none()
    gpus = column(st.sampled_from((1, 1, 2, 3, 4, 5, 8, 12, 16)))
    return arrivals.table(
        submit_s=column(times(40)),
        duration_s=column(times(20)),
        gpus=gpus,
        tenant=column(st.sampled_from(TENANTS)),
        priority=column(st.integers(0, 2)),
        gpu_kind=column(st.sampled_from((None, None, None, *KINDS))),
        nodes=column(st.sampled_from((None, None, None, 1, 2, 3))),
        estimate_s=column(st.one_of(st.none(), times(20).map(lambda time: time + 0.5))),
        cpus=[None if each is None else each * n for each, n in zip(column(rare), gpus, strict=True)],
        memory_bytes=[None if each is None else each * n for each, n in zip(column(rare), gpus, strict=True)],
    )


@st.composite
def tenancies(draw: st.DrawFn, gpus: int) -> list[dict[str, Any]]:
    """No tenants, or three with weights, some of them with quotas."""
    if not draw(st.booleans()):
        return []
    left, tenants = gpus, []
    for name in TENANTS:
        tenant: dict[str, Any] = {"name": name, "weight": draw(st.sampled_from((0.5, 1.0, 3.0)))}
        if draw(st.booleans()):
            tenant["quota"] = draw(st.integers(0, left))
            left -= tenant["quota"]
            tenant["borrow"] = draw(st.sampled_from((0, 2, 8, "unlimited")))
        tenants.append(tenant)
    return tenants


@st.composite
def cases(draw: st.DrawFn, blocking: str, *, exact: bool = False) -> tuple[Scenario, pl.DataFrame]:
    """A scenario that the scheduler accepts, and jobs for it."""
    order, _, placement = draw(st.sampled_from([each for each in COMBINATIONS if each[1] == blocking]))
    pools = draw(fleets())
    reserves = blocking in {"easy", "conservative"}
    parts = scheduler(
        order, blocking, placement, 0.0 if reserves else draw(st.sampled_from((0.0, 5.0, 50.0)))
    )
    if not exact:
        parts["estimates"] = {
            "from": draw(st.sampled_from(("exact", "user"))),
            "factor": draw(st.sampled_from((0.5, 1.0, 2.0))),
            "on_overrun": draw(st.sampled_from(("extend", "kill"))),
        }
    cost = {
        "checkpoint_every": draw(st.sampled_from((0.0, 3.0))),
        "restart": draw(st.sampled_from((0.0, 2.0))),
        "restart_per_gpu": draw(st.sampled_from((0.0, 0.25))),
    }
    tenants = draw(tenancies(sum(pool["nodes"] * pool["gpus_per_node"] for pool in pools)))
    if order in {"srtf", "srsf", "las", "priority"} and not reserves and draw(st.booleans()):
        parts["preemption"] = cost
    elif order in {"fifo", "sjf", "fair_share"} and not reserves and draw(st.booleans()):
        parts |= {"reclaim": True, "preemption": cost}
    jobs = draw(workloads(whole=draw(st.booleans()), host=blocking != "conservative"))
    horizon = draw(st.sampled_from((None, None, 30.0, 47.5)))
    try:
        return playing.scenario(pools, tenants, horizon, **parts), jobs
    except ValidationError:
        assume(False)
        raise


def run(case: tuple[Scenario, pl.DataFrame]) -> Log:
    try:
        return staging.simulate(*case)
    except PlanError:
        assume(False)
        raise


def patient(scenario: Scenario) -> bool:
    return getattr(scenario.scheduler.placement, "patience", 0.0) > 0


def test_most_combinations_of_order_blocking_and_placement_have_a_meaning() -> None:
    assert len(COMBINATIONS) == 7 * 4 * 5 - 3 * 2 * 5 - 5


def keeps_its_promises(case: tuple[Scenario, pl.DataFrame]) -> None:
    try:
        log, promised_s = playing.watch_promises(*case)
    except PlanError:
        assume(False)
        raise
    assert not log.moved_reservations
    for row, (start_s, _, _) in playing.spans(log).items():
        assert start_s <= promised_s.get(row, start_s), f"job {row}"


def keeps_the_books(case: tuple[Scenario, pl.DataFrame]) -> None:
    audit = Audit(*case, run(case))
    audit.everything()
    audit.nobody_waits_before_idle_gpus()
    if not patient(case[0]):
        audit.causes_are_what_the_nodes_show()
        if case[0].scheduler.blocking.kind == "greedy":
            audit.nobody_waits_who_fits()


@many
@given(cases("easy", exact=True))
def test_easy_keeps_its_promises_when_estimates_are_exact(case: tuple[Scenario, pl.DataFrame]) -> None:
    keeps_its_promises(case)


@many
@given(cases("conservative", exact=True))
def test_conservative_keeps_its_promises_when_estimates_are_exact(
    case: tuple[Scenario, pl.DataFrame],
) -> None:
    keeps_its_promises(case)


@many
@given(st.sampled_from(("strict", "greedy", "easy")).flatmap(cases))
def test_the_same_jobs_give_the_same_log(case: tuple[Scenario, pl.DataFrame]) -> None:
    assert run(case) == run(case)


@many
@given(
    st.sampled_from(("srtf", "srsf")),
    st.sampled_from(sorted(PLACEMENT)),
    fleets(),
    workloads(whole=True, host=False),
)
def test_nobody_waits_who_may_displace_enough_weaker_jobs(
    order: str, placement: str, pools: list[dict[str, Any]], jobs: pl.DataFrame
) -> None:
    told = playing.scenario(pools, **scheduler(order, "greedy", placement, 0.0))
    weight = {"srtf": lambda _: 1, "srsf": lambda job: job["gpus"]}[order]
    audit = Audit(told, jobs, staging.simulate(told, jobs))
    audit.everything()
    audit.nobody_waits_who_may_displace(lambda job, left_s: left_s * weight(job))


@many
@given(cases("strict"))
def test_a_strict_run_keeps_the_books(case: tuple[Scenario, pl.DataFrame]) -> None:
    keeps_the_books(case)


@many
@given(cases("greedy"))
def test_a_greedy_run_keeps_the_books(case: tuple[Scenario, pl.DataFrame]) -> None:
    keeps_the_books(case)


@many
@given(cases("easy"))
def test_an_easy_run_keeps_the_books(case: tuple[Scenario, pl.DataFrame]) -> None:
    keeps_the_books(case)


@many
@given(cases("conservative"))
def test_a_conservative_run_keeps_the_books(case: tuple[Scenario, pl.DataFrame]) -> None:
    keeps_the_books(case)


@many
@given(
    st.sampled_from(("strict", "greedy")),
    st.sampled_from(("fifo", "sjf", "fair_share", "las", "priority")),
    st.lists(
        st.tuples(st.integers(0, 150), st.integers(1, 30), st.sampled_from((1, 2, 3, 4, 8))),
        min_size=8,
        max_size=25,
    ),
    st.sampled_from((2.0, 10.0)),
    st.sampled_from(
        (None, {"components": [{"name": "it", "per": "node", "mean_time_between": 150.0, "repair": 9.0}]})
    ),
)
def test_who_gives_up_its_wish_for_locality_runs_once(
    blocking: str,
    order: str,
    rows: list[tuple[int, int, int]],
    patience: float,
    failures: dict[str, Any] | None,
) -> None:
    """A long quiet stream on small racks: many give up when nobody else waits, and others come after that."""
    table = playing.jobs(*[(float(at), float(lasts), gpus) for at, lasts, gpus in rows])
    pool = playing.nodes(6, 2, nodes_per_rack=2)
    parts = scheduler(order, blocking, "topology_aware", patience)
    told = playing.scenario([pool], horizon=None, failures=failures, **parts)
    log = staging.simulate(told, table)
    audit = Audit(told, table, log)
    if failures is None:
        audit.everything()
    for job in range(table.height):
        audit.gpu_seconds_are_conserved(job)
        audit.causes_add_up(job)
        assert sum(run[0] == job and run[3] == Outcome.DONE for run in log.runs) == 1
