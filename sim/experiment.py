"""Running a scenario: once, or several times with different random numbers, on one core or on all."""

from __future__ import annotations

import signal
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from sim import results, staging, workloads
from sim.errors import PlanError
from sim.log import Log
from sim.marginal import Bought, bought, changes
from sim.reports.explain import Course

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.pool import Pool
    from pathlib import Path

    from sim.results import Results
    from sim.scenario import Scenario


def run(
    scenario: Scenario,
    folder: Path,
    seed: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Play one replication. Paths are relative to the folder; progress is (jobs arrived, jobs)."""
    used_seed = scenario.seed if seed is None else seed
    arrivals = workloads.generate(scenario.workloads, used_seed, scenario.horizon, folder)
    count = arrivals.jobs.height
    tell = None if on_progress is None else lambda arrived: on_progress(arrived, count)
    log = staging.simulate(scenario, arrivals.jobs, tell, seed=used_seed, folder=folder)
    return results.from_log(scenario, arrivals, log, staging.nodes(scenario), used_seed)


def course(
    played: Results,
    job_id: str,
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Course | None:
    """What a job of a run did while it ran, for which the run is played again; None if jobs share nothing.

    ``folder`` is where relative paths of the run's scenario start. Raises PlanError if a file that they name
    is gone.
    """
    jobs = played.arrivals.jobs
    row = next((row for row, name in enumerate(jobs["job_id"]) if name == job_id), None)
    if row is None or not played.scenario.is_physical:
        return None
    log = Log()
    simulation = staging.prepare(played.scenario, jobs, log, played.seeds[0], folder)
    if simulation.courses is None:
        return None
    simulation.courses.diary_of = row
    if on_progress is not None:
        simulation.on_progress = lambda arrived: on_progress(arrived, jobs.height)
    simulation.run(played.scenario.horizon)
    return Course(tuple(simulation.courses.diary), dict(simulation.courses.path))


def replicate(
    scenario: Scenario,
    folder: Path,
    replications: int,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Play replications with the seeds that follow the scenario's, and join them; equal whatever the workers.

    Progress is (replications done, replications), or that of the jobs when there is one replication.
    """
    if replications == 1:
        return run(scenario, folder, on_progress=on_progress)
    seeds = range(scenario.seed, scenario.seed + replications)
    done: list[Results] = []
    one = partial(run, scenario, folder)
    if workers == 1:
        for result in map(one, seeds):
            done.append(result)
            _tell(on_progress, len(done), replications)
    else:
        with _pool(min(workers, replications)) as pool:
            for result in pool.imap(one, seeds):
                done.append(result)
                _tell(on_progress, len(done), replications)
    return results.combine(done)


def marginal(
    scenario: Scenario,
    folder: Path,
    replications: int = 1,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Bought]:
    """What one more of each thing in a scenario would buy; PlanError where it has nothing to enlarge."""
    found = list(changes(scenario))
    if not found:
        raise PlanError("this scenario has nothing that one more of would be known how to add")
    seeds = range(scenario.seed, scenario.seed + replications)
    played = (scenario, *(change.scenario for change in found))
    tasks = [(each, folder, seed) for each in played for seed in seeds]
    done: list[Results] = []
    if workers == 1:
        for task in tasks:
            done.append(run(*task))
            _tell(on_progress, len(done), len(tasks))
    else:
        with _pool(min(workers, len(tasks))) as pool:
            for result in pool.imap(_run_one, tasks):
                done.append(result)
                _tell(on_progress, len(done), len(tasks))
    runs = [done[at : at + replications] for at in range(0, len(done), replications)]
    return [bought(change.name, runs[0], after) for change, after in zip(found, runs[1:], strict=True)]


def _run_one(task: tuple[Scenario, Path, int]) -> Results:
    return run(*task)


def _pool(workers: int) -> Pool:
    """Processes that start afresh: a forked one would wait for ever for the locks of the threads of polars.

    An interrupt is for the process that waits for them; leaving the pool's `with` ends them at once.
    """
    return get_context("spawn").Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))


def _tell(on_progress: Callable[[int, int], None] | None, done: int, count: int) -> None:
    if on_progress is not None:
        on_progress(done, count)
