"""How fast jobs are replayed: on a real trace under every policy, and as jobs and nodes grow tenfold.

    python benchmarks/replay.py [--trace philly_jobs.csv.gz] [--most 1000000] [--json FILE]

Everything runs in turn on one core. Each measurement has a process of its own, so that its peak memory is
its own, and is preceded in that process by a bare SimPy M/M/c queue (a process and a `Resource` request per
customer, c = 64, load 0.9) of as many customers as there are jobs: the ratio of the two is what to compare
between machines. Times are CPU seconds of that process. They include preparing the desks from the scenario,
the event log and the causes of every wait; they exclude reading the trace, drawing the jobs and making the
report.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import polars as pl
import simpy

from sim import arrivals, staging, streams, traces
from sim.scenario import Scenario

POLICIES: dict[str, dict[str, str]] = {
    "fifo": {"order": "fifo", "blocking": "strict"},
    "fifo greedy": {"order": "fifo", "blocking": "greedy"},
    "easy": {"order": "fifo", "blocking": "easy"},
    "sjf": {"order": "sjf", "blocking": "greedy"},
    "srtf": {"order": "srtf", "blocking": "greedy"},
    "las": {"order": "las", "blocking": "greedy"},
    "fair_share": {"order": "fair_share", "blocking": "greedy"},
}
LOAD = 0.9


def bare_simpy_s(customers: int, servers: int = 64) -> float:
    """CPU seconds of a plain SimPy M/M/c queue."""
    environment = simpy.Environment()
    server = simpy.Resource(environment, capacity=servers)
    draw = random.Random(1)  # noqa: S311  a queue, not a secret

    def customer() -> Generator[simpy.Event, Any, None]:
        with server.request() as request:
            yield request
            yield environment.timeout(draw.expovariate(1.0))

    def source() -> Generator[simpy.Event, Any, None]:
        for _ in range(customers):
            yield environment.timeout(draw.expovariate(LOAD * servers))
            environment.process(customer())

    environment.process(source())
    start = time.process_time()
    environment.run()
    return time.process_time() - start


def synthetic(jobs: int, nodes: int) -> pl.DataFrame:
    """Poisson arrivals that keep 90 % of the GPUs busy: mostly one GPU, some gangs of up to two nodes."""
    draw = streams.stream(1, "benchmark")
    gpus = draw.choice([1, 2, 4, 8, 16], jobs, p=[0.7, 0.1, 0.1, 0.08, 0.02])
    duration_s = draw.exponential(3600.0, jobs)
    gap_s = float((gpus * duration_s).mean()) / (LOAD * nodes * 8)
    submit_s = draw.exponential(gap_s, jobs).cumsum()
    tenants = draw.choice(["vision", "speech", "language", "finance"], jobs)
    return arrivals.table(submit_s=submit_s, duration_s=duration_s, gpus=gpus, tenant=tenants)


def scenario(nodes: int, policy: str) -> Scenario:
    """Nodes of 8 GPUs under a policy; the workload is replaced by the jobs at hand."""
    pool = {"name": "all", "gpus_per_node": 8, "nodes": nodes}
    unused = {"kind": "trace", "path": "unused.csv"}
    return Scenario.model_validate(
        {"name": "bench", "fleet": {"pools": [pool]}, "scheduler": POLICIES[policy], "workloads": [unused]}
    )


def measure(policy: str, nodes: int, jobs: pl.DataFrame) -> dict[str, Any]:
    """One replay beside the bare queue, in this process."""
    bare_s = bare_simpy_s(jobs.height)
    start = time.process_time()
    log = staging.simulate(scenario(nodes, policy), jobs)
    replay_s = time.process_time() - start
    return {
        "policy": policy,
        "nodes": nodes,
        "jobs": jobs.height,
        "jobs_per_s": jobs.height / replay_s,
        "bare_simpy_per_s": jobs.height / bare_s,
        "ratio": bare_s / replay_s,
        "us_per_job": 1e6 * replay_s / jobs.height,
        "jobs_that_waited": len({wait[0] for wait in log.waits}),
        "runs": len(log.runs),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def in_own_process(*arguments: str, repeats: int) -> dict[str, Any]:
    """The measurement with the median ratio of several, each in a new process."""
    command = [sys.executable, __file__, "--one", *arguments]
    rows = [_run(command) for _ in range(repeats)]
    return sorted(rows, key=lambda row: row["ratio"])[repeats // 2]


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603  this very script
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """A Markdown table."""
    print(f"\n{title}\n")
    print("| policy | nodes | jobs | waited | jobs/s | bare SimPy/s | ratio | us/job | peak GB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['policy']} | {row['nodes']:,} | {row['jobs']:,} | {row['jobs_that_waited']:,} "
            f"| {row['jobs_per_s']:,.0f} | {row['bare_simpy_per_s']:,.0f} | {row['ratio']:.2f} "
            f"| {row['us_per_job']:.1f} | {row['peak_gb']:.2f} |",
            flush=True,
        )


def main() -> None:
    """Measure what was asked and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trace", type=Path, help="the Philly digest; left out, only synthetic jobs are replayed"
    )
    parser.add_argument("--most", type=int, default=1_000_000, help="largest number of synthetic jobs")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of each measurement; the median is shown"
    )
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--json", type=Path, help="write all rows here too")
    parser.add_argument(
        "--one", nargs=3, metavar=("POLICY", "NODES", "JOBS_OR_TRACE"), help=argparse.SUPPRESS
    )
    asked = parser.parse_args()
    if asked.one:
        policy, nodes, source = asked.one
        jobs = synthetic(int(source), int(nodes)) if source.isdigit() else traces.read(Path(source)).jobs
        print(json.dumps(measure(policy, int(nodes), jobs)))
        return
    tables: dict[str, list[tuple[str, str, str]]] = {}
    if asked.trace:
        trace = str(asked.trace)
        tables["Philly trace"] = [(p, n, trace) for p in asked.policies for n in ("352", "88", "58")]
    sizes = [10**power for power in range(4, 8) if 10**power <= asked.most]
    tables["Jobs, on 100 nodes"] = [(p, "100", str(size)) for p in asked.policies for size in sizes]
    widths = ("100", "1000", "10000")
    tables["Nodes, with 200,000 jobs"] = [(p, n, "200000") for p in asked.policies for n in widths]
    rows = {}
    for title, cases in tables.items():
        rows[title] = [in_own_process(*case, repeats=asked.repeats) for case in cases]
        show(title, rows[title])
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
