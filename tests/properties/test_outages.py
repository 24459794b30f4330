"""Whatever fails: no node that is away holds a job, and every second of every job is accounted for."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sim import staging
from sim.log import Outcome
from tests.support.audit import Audit
from tests.support.playing import jobs, nodes, scenario

ROWS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 40), st.sampled_from([1, 1, 2, 3, 4, 6])),
    min_size=1,
    max_size=15,
)
ORDERS = st.sampled_from(["fifo", "srtf", "las", "sjf"])
BLOCKING = st.sampled_from(["strict", "greedy", "easy", "conservative"])
RULES = st.lists(
    st.builds(
        lambda every, write, behind: {"every": every, "write": write}
        | ({"snapshot": write / 4} if behind and write <= every else {}),
        st.sampled_from([3.0, 5.0]), st.sampled_from([0.5, 1.0]), st.booleans(),
    ),
    max_size=1,
)  # fmt: skip
FAILURES = st.builds(
    lambda between, repair, detection, technicians, per, spares: {
        "components": [
            {"name": "it", "per": per, "mean_time_between": between, "repair": repair},
            {"name": "soft", "per": "node", "mean_time_between": 4 * between},
        ],
        "detection": detection,
        "technicians": technicians,
        "spares": spares,
    },
    st.sampled_from([60.0, 200.0]), st.sampled_from([0.0, 7.0]), st.sampled_from([0.0, 2.5]),
    st.sampled_from([None, 1]), st.sampled_from(["gpu", "node", "rack"]),
    st.sampled_from([None, None, {"nodes": 1, "after": 1.0}]),
)  # fmt: skip


NETWORKS: list[dict[str, Any]] = [
    {"card": 2.0, "oversubscription": 2.0, "nodes_per_leaf": 1},
    {"card": 2.0, "oversubscription": 2.0, "nodes_per_leaf": 2},
    {
        "kind": "graph", "card": 2.0,
        "switches": [{"name": "a", "nodes": 2}, {"name": "b", "nodes": 1}, {"name": "s"}, {"name": "t"}],
        "links": [
            {"between": ends, "rate": rate}
            for ends, rate in ((("a", "s"), 1.0), (("a", "t"), 2.0), (("b", "s"), 1.0), (("b", "t"), 1.0))
        ],
    },
]  # fmt: skip
CACHES: list[dict[str, Any]] = [
    {},
    {"data_set": 6.0, "cache": 8.0},
    *({"data_set": 6.0, "cache": 2.0, "cache_policy": policy} for policy in ("static", "lru", "fifo")),
]
SHARED = st.builds(
    lambda sends, pattern, reads, size, behind, network, caches: {
        "network": network,
        "stores": [
            {"name": "nfs", "read": 2.0, "write": 1.0, "per_node": 1.5}
            | ({"switch": "s"} if "kind" in network else {})
        ],
        "traffic": [{"sends": sends, "pattern": pattern, "reads": reads, "store": "nfs", **caches}],
        "checkpoints": [
            {"every": 4.0, "size": size, "store": "nfs", "restart": 0.5}
            | ({"snapshot": 0.25} if behind else {})
        ],
    },
    st.sampled_from([0.5, 1.5]), st.sampled_from(["ring", "all_to_all"]), st.sampled_from([0.2, 1.0]),
    st.sampled_from([0.5, 2.0]), st.booleans(), st.sampled_from(NETWORKS), st.sampled_from(CACHES),
)  # fmt: skip


@given(rows=ROWS, order=ORDERS, blocking=BLOCKING, shared=SHARED, failures=st.none() | FAILURES)
@settings(max_examples=100, deadline=None)
def test_jobs_that_share_network_and_stores_lose_no_second_either(
    rows: list[tuple[int, int, int]],
    order: str,
    blocking: str,
    shared: dict[str, Any],
    failures: dict[str, object] | None,
) -> None:
    assume(blocking not in ("easy", "conservative") or order in ("fifo", "sjf"))  # the others preempt
    table = jobs(*[(float(at), float(lasts), gpus) for at, lasts, gpus in rows])
    wanted = scenario(
        [nodes(3, 2)], horizon=300.0, order=order, blocking=blocking, failures=failures, **shared
    )
    log = staging.simulate(wanted, table)
    audit = Audit(wanted, table, log)
    for job in range(table.height):
        audit.gpu_seconds_are_conserved(job)
        audit.causes_add_up(job)
    told = {name: carried for name, _, carried, _ in log.links}
    if not told:
        return
    sent = sum(carried for name, carried in told.items() if name.endswith(" out"))
    received = sum(carried for name, carried in told.items() if name.endswith(" in"))
    assert sent + told["nfs reading"] == pytest.approx(received + told["nfs writing"], rel=1e-6, abs=1e-6)
    for name, rate, carried, _ in log.links:
        assert name == "limit of a node" or carried <= rate * log.end_s * (1 + 1e-9)
    again = staging.simulate(wanted, table)
    assert (again.runs, again.waits, again.links) == (log.runs, log.waits, log.links)


@given(rows=ROWS, order=ORDERS, blocking=BLOCKING, rules=RULES, failures=FAILURES, seed=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_every_second_is_accounted_for_and_no_failed_node_holds_a_job(
    rows: list[tuple[int, int, int]],
    order: str,
    blocking: str,
    rules: list[dict[str, float]],
    failures: dict[str, object],
    seed: int,
) -> None:
    assume(blocking not in ("easy", "conservative") or order in ("fifo", "sjf"))  # the others preempt
    table = jobs(*[(float(at), float(lasts), gpus) for at, lasts, gpus in rows])
    wanted = scenario(
        [nodes(3, 2, nodes_per_rack=2)], horizon=400.0, order=order, blocking=blocking, failures=failures,
        checkpoints=rules,
    )  # fmt: skip
    log = staging.simulate(wanted, table, seed=seed)
    audit = Audit(wanted, table, log)
    for job in range(table.height):
        audit.gpu_seconds_are_conserved(job)
        audit.causes_add_up(job)
    away = defaultdict(list)
    for node, from_s, to_s, _, _ in log.outages:
        away[node].append((from_s, to_s))
        assert from_s <= to_s
    for run in log.runs:
        _, start_s, end_s, outcome, *_, placement, _, stalled_s = run
        worked_until_s = end_s - stalled_s
        for node, _ in placement:
            for from_s, to_s in away[node]:
                # it may have begun before the failure, and then hangs; it never begins or works meanwhile
                overlap = min(worked_until_s, to_s) - max(start_s, from_s)
                assert overlap <= 1e-9, (run, from_s, to_s)
        if outcome == Outcome.FAILED and failures["detection"]:
            assert abs(stalled_s - failures["detection"]) < 1e-9  # type: ignore[operator]
    again = staging.simulate(wanted, table, seed=seed)
    assert (again.runs, again.waits, again.outages) == (log.runs, log.waits, log.outages)
