"""What a run came to: its tables, and every metric with its unit and, over replications, its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from sim import metrics, power, tables, words
from sim.log import Log
from sim.metrics import SIZE_CLASSES, UNITS, Integers, Numbers, Window
from sim.objectives import Objective
from sim.outages import MAINTENANCE
from sim.scenario import Scenario
from sim.statistics import t_interval
from sim.workloads import WorkloadJobs

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str | None, str | None]
"""A metric, of one tenant or of all, of one size class or of all."""


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """One run, or several replications of it, as reports and the run folder see it.

    `tables` has jobs, runs, placements, waits, nodes and timeline; those of several replications are the
    tables of the first, and `replications` has the metrics of each. `seeds` are those of the replications,
    in order.
    """

    scenario: Scenario
    arrivals: WorkloadJobs
    tables: Mapping[str, pl.DataFrame]
    summary: Mapping[str, Any]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def metric(self, name: str, *, tenant: str | None = None, size_class: str | None = None) -> float | None:
        """The value of a metric, None where it has none; KeyError if the summary does not hold the metric."""
        wanted = (name, tenant, size_class)
        found = [row["value"] for row in self.summary["metrics"] if _key(row) == wanted]
        if not found:
            raise KeyError(wanted)
        value: float | None = found[0]
        return value

    @property
    def objectives_met(self) -> bool:
        """Whether every objective of the scenario is met; true when there is none."""
        return all(objective["met"] for objective in self.summary["objectives"])


def from_log(
    scenario: Scenario, arrivals: WorkloadJobs, log: Log, nodes: pl.DataFrame, seed: int | None = None
) -> Results:
    """Tables and summary of one run.

    `nodes` has the columns of `tables.NODES`; the seed is the scenario's where no other is given.
    AssertionError if the log contradicts itself: a job lost, a second without a cause, a GPU held twice.
    """
    found = tables.facts(arrivals.jobs, log)
    steps = tables.steps(found)
    made = tables.build(arrivals.jobs, found, steps, nodes, _virtual_clusters(scenario, arrivals.jobs, nodes))
    if scenario.is_physical:
        made["links"] = tables.links(log)
        made["links_over_time"] = tables.links_over_time(log, made["links"])
        made["outages"] = tables.outages(log, nodes["node"])
        made["jobs"] = tables.with_stalls(made["jobs"], log, found.submitted)
    _check_gpu_time(found, steps)
    rows, cost = _metric_rows(scenario, made, found, steps, log)
    if cost is not None:
        made["jobs"] = made["jobs"].with_columns(cost=cost)
    never = int((~found.submitted).sum())
    late = f"{words.count(never, 'job')} would have been submitted after the end of the run."
    notes = (late,) if never else ()
    used_seed = scenario.seed if seed is None else seed
    summary = {
        "scenario": scenario.name,
        "seeds": [used_seed],
        "window": {"from_s": float(scenario.warm_up), "until_s": found.end_s},
        "metrics": rows,
        "objectives": objectives(rows, scenario.objectives),
        "counts": _counts(found, made, scenario),
        "notes": list(notes),
    }
    return Results(scenario, arrivals, made, summary, (used_seed,), notes)


def combine(replications: Sequence[Results]) -> Results:
    """Several replications as one: each metric is their mean, with Student's interval at 95 %.

    The tables are those of the first, and `replications` holds every metric of every one. A metric that only
    one replication has (a tenant that submitted nothing in the others) has no interval.
    """
    first = replications[0]
    if len(replications) == 1:
        return first
    rows = [_combined(key, found) for key, found in _by_key(replications).items()]
    seeds = tuple(seed for each in replications for seed in each.seeds)
    note = f"Means of {len(replications)} replications; tables and figures over time are those of the first."
    notes = (*dict.fromkeys(said for each in replications for said in each.notes), note)
    summary = {
        **first.summary,
        "seeds": list(seeds),
        "metrics": rows,
        "objectives": objectives(rows, first.scenario.objectives),
        "counts": {**first.summary["counts"], "replications": len(replications)},
        "notes": list(notes),
    }
    made = {**first.tables, "replications": _replications(replications)}
    return Results(first.scenario, first.arrivals, made, summary, seeds, notes)


def objectives(rows: Iterable[Mapping[str, Any]], wanted: Iterable[Objective]) -> list[Row]:
    """What was wanted and what was reached.

    `met` judges the value, `confident` the interval: true or false when all of it lies on one side of the
    bound, None when it does not or when there is none. A metric without a value misses its objective.
    """
    found = {_key(row): row for row in rows}
    return [_judged(objective, found.get((objective.metric, objective.tenant, None))) for objective in wanted]


def _judged(objective: Objective, row: Mapping[str, Any] | None) -> Row:
    value, interval = (row["value"], row["interval"]) if row else (None, None)
    sides = {_meets(objective, end) for end in interval or ()}
    return {
        "metric": objective.metric,
        "tenant": objective.tenant,
        "at_most": objective.at_most,
        "at_least": objective.at_least,
        "value": value,
        "unit": UNITS[objective.metric],
        "interval": interval,
        "met": value is not None and _meets(objective, value),
        "confident": sides.pop() if len(sides) == 1 else None,
    }


def _meets(objective: Objective, value: float) -> bool:
    below = objective.at_most is None or value <= objective.at_most
    return below and (objective.at_least is None or value >= objective.at_least)


def _metric_rows(
    scenario: Scenario, made: tables.Tables, found: tables.Facts, steps: metrics.Steps, log: Log
) -> tuple[list[Row], pl.Series | None]:
    """Metrics of the run, of each tenant by name, of each size class from the smallest; cost of jobs."""
    node_gpus = made["nodes"]["gpus"].to_numpy()
    gpus = int(node_gpus.sum())
    window = Window(float(scenario.warm_up), found.end_s)
    jobs = replace(found.jobs, fairness=metrics.finish_time_fairness(found.jobs, steps, gpus))
    jobs = jobs.take(found.submitted)
    counted = jobs.take(jobs.submit_s >= window.from_s)
    tenants, codes = _codes(made["jobs"].filter(pl.col("submit_s") >= window.from_s)["tenant"])
    weights = {tenant.name: tenant.weight for tenant in scenario.tenants}
    stranded_gpu_s = metrics.stranded(found.pieces, node_gpus, window)
    whole: Numbers = {
        **metrics.of_jobs(counted),
        **metrics.of_fleet(found.stays, steps, window, gpus, stranded_gpu_s),
        **metrics.of_run(jobs, counted, gpus),
        **metrics.between_tenants(
            counted, codes, np.array([weights.get(name, 1.0) for name in tenants]), found.end_s
        ),
        "moved_reservations": float(sum(moved[0] >= window.from_s for moved in log.moved_reservations)),
    }
    if scenario.is_physical:
        away = made["outages"]
        columns = {name: away[name].to_numpy() for name in ("from_s", "to_s")} | {
            "node": away["node"]
            .replace_strict(made["nodes"]["node"], range(made["nodes"].height))
            .to_numpy(),
            "planned": (away["component"] == MAINTENANCE).to_numpy(),
        }
        whole |= metrics.of_failures(found.stays, columns, window, node_gpus)
        whole["contention_gpu_h"] = float(made["links"]["lost_gpu_h"].sum())
        whole["effective_time"] = metrics.effective_time(found.stays, found.stay_job, window)
    whole |= _power_and_cost(scenario, made, found, window, whole)
    rows = _rows(whole, None, None)
    cost = _cost_of_jobs(scenario, made["nodes"], found, window, whole)
    of_tenants = {} if cost is None else _cost_of_tenants(made["jobs"]["tenant"], cost, found, window)
    for code, numbers in metrics.by_group(counted, codes):
        rows += _rows(numbers | of_tenants.get(tenants[code], {}), tenants[code], None)
    sizes = tuple(SIZE_CLASSES)
    for code, numbers in metrics.by_group(counted, metrics.size_class(counted.gpus)):
        rows += _rows(numbers, None, sizes[code])
    return rows, cost


def _power_and_cost(
    scenario: Scenario, made: tables.Tables, found: tables.Facts, window: Window, known: Numbers
) -> Numbers:
    """Energy and money, where the scenario says what things draw and cost; nothing of an empty window."""
    told: Numbers = {}
    if window.length_s == 0.0:
        return told
    pools = scenario.fleet.pools
    if all(pool.price_per_gpu_hour is not None for pool in pools):
        hours = window.length_s / metrics.GPU_H
        told["gpu_cost"] = sum(pool.gpus * (pool.price_per_gpu_hour or 0.0) for pool in pools) * hours
    if scenario.power is not None:
        drawn = _drawn(scenario.power, scenario, made, found, window)
        kwh = drawn.energy_j / 3.6e6 * scenario.power.pue
        told |= {
            "power_mean_kw": drawn.mean_w / 1e3,
            "power_p99_kw": drawn.quantile_w(0.99) / 1e3,
            "power_peak_kw": drawn.peak_w / 1e3,
            "rack_p99_kw": float(drawn.rack_p99_w.max()) / 1e3,
            "rack_peak_kw": float(drawn.rack_peak_w.max()) / 1e3,
            "energy_mwh": kwh / 1e3,
        }
        if scenario.power.price_per_kwh is not None:
            of_price = drawn.weighted_j(scenario.power.price_by_hour) / drawn.energy_j
            told["energy_cost"] = kwh * of_price * scenario.power.price_per_kwh
        if scenario.power.carbon_per_kwh is not None:
            of_carbon = drawn.weighted_j(scenario.power.carbon_by_hour) / drawn.energy_j
            told["carbon_t"] = kwh * of_carbon * scenario.power.carbon_per_kwh / 1e3
    useful = known.get("goodput_gpu_h")
    if "gpu_cost" in told and useful:
        told["cost_per_useful_gpu_h"] = (
            (told["gpu_cost"] or 0.0) + (told.get("energy_cost") or 0.0)
        ) / useful
    return told


def _cost_of_jobs(
    scenario: Scenario, nodes: pl.DataFrame, found: tables.Facts, window: Window, whole: Numbers
) -> pl.Series | None:
    """What each job cost: all costs, idle GPUs too, by GPU hours held at the prices of their pools."""
    cost = (whole.get("gpu_cost") or 0.0) + (whole.get("energy_cost") or 0.0)
    if "gpu_cost" not in whole or not cost:
        return None
    prices = {pool.name: pool.price_per_gpu_hour or 0.0 for pool in scenario.fleet.pools}
    price = nodes["pool"].replace_strict(prices, return_dtype=pl.Float64).to_numpy()
    pieces = found.pieces
    held_s = window.overlap_s(pieces.start_s, pieces.end_s) * pieces.gpus * pieces.nodes * price[pieces.node]
    weight = np.bincount(found.stay_job[found.piece_stay], held_s, len(found.submitted))
    if not weight.sum():
        return None
    return pl.Series("cost", (cost * weight / weight.sum())[found.submitted], dtype=pl.Float64)


def _cost_of_tenants(
    tenant: pl.Series, cost: pl.Series, found: tables.Facts, window: Window
) -> dict[str, Numbers]:
    """What the jobs of each tenant cost, and what an hour of a GPU's work of theirs that counted did."""
    kept_s = metrics.kept_by_job(found.stays, found.stay_job, window, len(found.submitted))
    spent = pl.DataFrame({"tenant": tenant, "cost": cost, "kept_h": kept_s[found.submitted] / metrics.GPU_H})
    sums = spent.group_by("tenant").agg(pl.col("cost").sum(), pl.col("kept_h").sum())
    return {
        str(name): {"cost": paid, "cost_per_useful_gpu_h": paid / kept if kept else None}
        for name, paid, kept in sums.rows()
    }


def _drawn(
    spec: power.Power, scenario: Scenario, made: tables.Tables, found: tables.Facts, window: Window
) -> power.Drawn:
    """Power over the window, from what the GPUs of each stay did."""
    nodes, pieces, stays = made["nodes"], found.pieces, found.stays
    names = [pool.name for pool in scenario.fleet.pools]
    lasted_s = stays.end_s - stays.start_s
    worked_s = stays.work_s + stays.lost_s
    working = np.divide(worked_s, lasted_s, out=np.ones_like(lasted_s), where=lasted_s > 0)
    at, further = tables.node_by_node(pieces.nodes)
    load = power.Load(
        pieces.node[at] + further,
        pieces.gpus[at],
        pieces.start_s[at],
        pieces.end_s[at],
        working[found.piece_stay[at]],
    )
    return power.drawn(
        load,
        [power.draw(spec, pool) for pool in scenario.fleet.pools],
        nodes["pool"].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy(),
        nodes["gpus"].to_numpy(),
        window.from_s,
        window.until_s,
        nodes["rack"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        spec,
    )


def _rows(numbers: Numbers, tenant: str | None, size_class: str | None) -> list[Row]:
    return [
        {
            "name": name,
            "tenant": tenant,
            "size_class": size_class,
            "value": value,
            "unit": UNITS[name],
            "interval": None,
        }
        for name, value in numbers.items()
    ]


def _codes(tenants: pl.Series) -> tuple[list[str], Integers]:
    """The tenants by name, and the position of each job's tenant among them."""
    names = tenants.unique().sort()
    return names.to_list(), tenants.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()


def _check_gpu_time(found: tables.Facts, steps: metrics.Steps) -> None:
    """GPU time allocated is the same from the stays and from the timeline."""
    stays = found.stays
    from_stays = float(((stays.end_s - stays.start_s) * stays.gpus).sum())
    from_steps = float((steps.gpus_allocated[:-1] * np.diff(steps.time_s)).sum())
    if abs(from_stays - from_steps) > 1e-9 * max(1.0, from_stays):
        raise AssertionError(f"stays held {from_stays} GPU-seconds, but the timeline has {from_steps}")


def _virtual_clusters(scenario: Scenario, arrivals: pl.DataFrame, nodes: pl.DataFrame) -> dict[str, str]:
    """The virtual cluster of each tenant that has one: the stated one, or that of its own name."""
    names = set(nodes["virtual_cluster"].drop_nulls().to_list())
    own = {name: name for name in sorted(set(arrivals["tenant"].unique().to_list()) & names)}
    stated = {tenant.name: tenant.virtual_cluster for tenant in scenario.tenants if tenant.virtual_cluster}
    return own | stated


def _counts(found: tables.Facts, made: tables.Tables, scenario: Scenario) -> dict[str, int]:
    """How many of everything there are, before any is left out of a metric."""
    jobs = made["jobs"]
    by_status = np.bincount(found.jobs.status[found.submitted], minlength=len(metrics.STATUSES))
    return {
        "replications": 1,
        "jobs": len(jobs),
        "jobs_in_warm_up": int((jobs["submit_s"] < scenario.warm_up).sum()),
        "jobs_after_the_end": int((~found.submitted).sum()),
        **{f"jobs_{status}": int(count) for status, count in zip(metrics.STATUSES, by_status, strict=True)},
        "runs": len(made["runs"]),
        "waits": len(made["waits"]),
        "nodes": len(made["nodes"]),
        "gpus": int(made["nodes"]["gpus"].sum()),
        "tenants": jobs["tenant"].n_unique(),
    }


def _key(row: Mapping[str, Any]) -> Key:
    return row["name"], row["tenant"], row["size_class"]


def _by_key(replications: Sequence[Results]) -> dict[Key, list[float]]:
    """The values of each metric in the replications that have one; groups of later replications come last."""
    found: dict[Key, list[float]] = {}
    for results in replications:
        for row in results.summary["metrics"]:
            values = found.setdefault(_key(row), [])
            if row["value"] is not None:
                values.append(row["value"])
    return _ordered(found)


def _ordered(found: dict[Key, list[float]]) -> dict[Key, list[float]]:
    """The whole run first, then tenants by name, then size classes from small to large."""
    sizes = {name: place for place, name in enumerate(SIZE_CLASSES)}

    def group(key: Key) -> tuple[int, str, int]:
        _, tenant, size = key
        return (0, tenant or "", 0) if size is None else (1, "", sizes[size])

    return dict(sorted(found.items(), key=lambda item: group(item[0])))


def _combined(key: Key, values: list[float]) -> Row:
    name, tenant, size_class = key
    interval = t_interval(values) if len(values) > 1 else None
    value = interval.mean if interval else next(iter(values), None)
    return {
        "name": name,
        "tenant": tenant,
        "size_class": size_class,
        "value": value,
        "unit": UNITS[name],
        "interval": [interval.low, interval.high] if interval else None,
    }


def _replications(replications: Sequence[Results]) -> pl.DataFrame:
    """Every metric of every replication: one row each."""
    schema = {
        "replication": pl.Int64,
        "seed": pl.Int64,
        "name": pl.String,
        "tenant": pl.String,
        "size_class": pl.String,
        "value": pl.Float64,
        "unit": pl.String,
    }
    rows = [
        {"replication": number, "seed": results.seeds[0], **row}
        for number, results in enumerate(replications)
        for row in results.summary["metrics"]
    ]
    return pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema)
