"""The answer before the figures: was the fleet big enough, who waited and why, what was wasted, what next.

Plain sentences that can be forwarded as they are. Each states only what the tables hold; means carry their
interval when the run was replicated, and a wait cut off by the end of the run is said to be a lower bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim import words
from sim.reports.facts import Facts, Metric
from sim.reports.objective import told

if TYPE_CHECKING:
    from sim.results import Results

_BECAUSE = {
    "capacity": "too few GPUs were free",
    "fragmentation": "enough GPUs were free but scattered over the nodes",
    "quota": "the tenant's quota was used up",
    "order": "the queue's order or a reservation kept free GPUs for another job",
    "preemption": "the job had lost its GPUs and had to queue again",
}

_NEXT = {
    "capacity": "GPUs are what binds: try a larger fleet, or move work to the quiet hours.",
    "fragmentation": "Placement is what binds, not size: compare the placements before buying GPUs.",
    "quota": "Quotas are what binds, not size: compare the run with borrowing allowed.",
    "order": "The queue's order is what binds, not size: compare the run with backfill or another order.",
    "preemption": "Preemption is what binds, not size: compare the run without it, or with a gentler order.",
}

_LOSSES = {
    "lost_preemption_gpu_h": "of work was lost to preemption",
    "lost_failure_gpu_h": "of work was lost to failures",
    "checkpoint_gpu_h": "went into checkpoints",
    "stalled_gpu_h": "was spent waiting for network and stores or hanging until a failure was noticed",
    "lost_time_limit_gpu_h": "was spent on jobs that were stopped at their time limit",
    "restart_gpu_h": "went into restarts",
}

_NEARLY_ALL = 0.95
_FAR = 5.0
_WAIT_THAT_MATTERS_S = 600.0
_WORTH_A_WORD = 0.05
_APART = 1.2
_ROUNDING = 1e-9


def sentences(results: Results) -> list[str]:
    """What a capacity engineer would tell the boss, most important first."""
    facts = Facts(results)
    if facts.jobs.is_empty():
        run = "first replication" if facts.replicated else "run"
        return [
            f"No job was submitted while the {run} was measured, so nothing can be said about the fleet.",
            *_left_out(facts),
        ]
    if facts.accepted.is_empty():
        return [_all_rejected(facts), *_rejections(facts), *told(facts.objectives), *_left_out(facts)]
    return [
        *_verdict(facts),
        *told(facts.objectives),
        *_sharing_binds(facts),
        *_occupied(facts),
        *_waits(facts),
        *_longest_waiters(facts),
        *_causes(facts),
        *_waste(facts),
        *_contention(facts),
        *_collisions(facts),
        *_failures(facts),
        *_power_and_cost(facts),
        *_unfinished(facts),
        *_rejections(facts),
        *_left_out(facts),
        *_passed_over(facts),
        *_next(facts),
    ]


def is_overloaded(facts: Facts) -> bool:
    """Whether jobs ask for more GPU time than the fleet has while they arrive, and have to wait for it.

    A handful of jobs that arrive within a minute ask for much in that minute; if they start at once, it is no
    matter.
    """
    return facts.value("offered_load") > 1.0 and facts.started_at_once < _NEARLY_ALL


def binding_cause(facts: Facts) -> str | None:
    """The cause of most of the waiting; None when nobody waited."""
    return next(iter(facts.cause_shares), None)


def _all_rejected(facts: Facts) -> str:
    of_the_first = _of_the_first(facts)
    if len(facts.jobs) == 1:
        return (
            f"The fleet cannot do this work: the one job{of_the_first} was rejected, "
            "because it could never start."
        )
    return (
        f"The fleet cannot do this work: every one of {words.count(len(facts.jobs), 'job')}{of_the_first} "
        "was rejected, because none could ever start."
    )


def _verdict(facts: Facts) -> list[str]:
    """Was the fleet big enough, in one sentence, or two when it was not."""
    jobs = words.count(len(facts.accepted), "job") + _of_the_first(facts)
    alone = len(facts.accepted) == 1
    if is_overloaded(facts):
        return [_too_small(facts), *_never_started(facts)]
    if facts.with_status("done", "timed_out") == 0:
        run = "first replication" if facts.replicated else "run"
        too_short = (
            f"No job finished in the {_span(facts)} of the {run}: it is too short to judge the fleet by."
        )
        return [too_short, *_never_started(facts)]
    if facts.waited_s == 0.0:
        none = f"the one job{_of_the_first(facts)} did not wait" if alone else f"not one of {jobs} waited"
        return [f"The fleet was big enough: {none}."]
    waited = f"{words.percent(1.0 - facts.started_at_once)} of {jobs} had to wait"
    if alone:
        waited = f"the one job{_of_the_first(facts)} had to wait"
    if facts.started_at_once >= _NEARLY_ALL:
        return [f"The fleet was big enough nearly all the time: only {waited}."]
    load = facts.metric("offered_load")
    asked = "" if load is None else f"jobs asked for {load.said()} of its GPU time"
    if binding_cause(facts) == "capacity":
        because = f"{asked}, and {waited}" if asked else waited
        return [f"The fleet was big enough on average but not at every moment: {because}."]
    enough = f" ({asked})" if asked else ""
    return [f"The fleet had GPUs enough{enough}, yet {waited}, and mostly not for want of GPUs."]


def _too_small(facts: Facts) -> str:
    """The load above 1, with the time over which it was measured."""
    load, arrivals = facts.metric("offered_load"), facts.accepted["submit_s"]
    said = load.said() if load else ""
    span = words.duration(float(arrivals.max()) - float(arrivals.min()))  # type: ignore[arg-type]
    where = " in the first replication" if facts.replicated else ""
    return (
        f"The fleet is too small for this work: over the {span} in which jobs arrive{where}, they ask for "
        f"{said} of the GPU time it has, so the queue grows without bound for as long as they keep coming."
    )


def _never_started(facts: Facts) -> list[str]:
    queued = facts.with_status("queued")
    if not queued:
        return []
    share, were = words.percent(queued / len(facts.accepted)), "was" if queued == 1 else "were"
    jobs = words.count(queued, "job") + _of_the_first(facts)
    return [f"When the run ended, {jobs} ({share}) {were} still in the queue."]


def _of_the_first(facts: Facts) -> str:
    """What a count of jobs is of when the run was replicated: the tables are those of the first."""
    return " of the first replication" if facts.replicated else ""


def _span(facts: Facts) -> str:
    return words.duration(facts.end_s - facts.start_s)


def _occupied(facts: Facts) -> list[str]:
    """How busy the fleet was."""
    occupancy, utilisation = facts.metric("occupancy"), facts.metric("utilisation")
    if occupancy is None:
        return []
    fleet = f"{words.count(facts.nodes, 'node')} with {words.count(facts.gpus, 'GPU')}"
    over = f"Over {_span(facts)}"
    if _differs_in_length(facts):
        over = f"Until the last job ended, after {_span(facts)} in the first replication"
    busy = f"{over}, {occupancy.said()} of the GPU time of {fleet} was allocated to jobs"
    if utilisation is None or words.percent(utilisation.value) == words.percent(occupancy.value):
        return [f"{busy}."]
    return [f"{busy}; {utilisation.said()} went into work that was kept."]


def _differs_in_length(facts: Facts) -> bool:
    """Whether each replication ends with its own last job, so that the length is that of the first only."""
    return facts.replicated and facts.scenario.horizon is None


def _waits(facts: Facts) -> list[str]:
    """How long the wait was, from the typical job to the unlucky one."""
    if facts.waited_s == 0.0:
        return []
    middle, mean = facts.metric("wait_p50_s"), facts.metric("wait_mean_s")
    high, most = facts.metric("wait_p95_s"), facts.metric("wait_p99_s")
    if middle is None or mean is None or high is None or most is None:
        return []
    average = f"the mean wait is {mean.said()}."
    if len(facts.accepted) == 1 and not facts.replicated:
        return [f"Its wait was {mean.said()}."]
    if middle.value == 0.0:
        at_once = f"{words.percent(facts.started_at_once)} of jobs{_of_the_first(facts)} started at once"
        if high.value == 0.0:
            longest = words.duration(float(facts.accepted["wait_s"].max() or 0.0))  # type: ignore[arg-type]
            return [f"{at_once}, the longest wait{_of_the_first(facts)} was {longest}, and {average}"]
        return [f"{at_once}, 95 % within {high.said()} and 99 % within {most.said()}; {average}"]
    return [f"Half of the jobs waited {middle.said()} or less, 95 % waited {high.said()} or less; {average}"]


def _longest_waiters(facts: Facts) -> list[str]:
    """Which tenants and which sizes waited longest, when that differs enough to matter."""
    by_tenant = {name: facts.metric("wait_mean_s", tenant=name) for name in facts.tenants}
    by_size = {name: facts.metric("wait_mean_s", size_class=name) for name in facts.size_classes}
    said = [
        _contrast("By tenant", {name: metric for name, metric in by_tenant.items() if metric}),
        _contrast("By size", {f"jobs of {name}": metric for name, metric in by_size.items() if metric}),
    ]
    return [sentence for sentence in said if sentence]


def _contrast(heading: str, waits: dict[str, Metric]) -> str:
    """The longest and the shortest mean wait of several groups; empty when they are about the same."""
    if len(waits) <= 1:
        return ""
    most, least = (
        max(waits, key=lambda name: waits[name].value),
        min(waits, key=lambda name: waits[name].value),
    )
    if waits[most].value <= _APART * waits[least].value:
        return ""
    longest, shortest = waits[most].said(), waits[least].said()
    return f"{heading}, {most} waited longest, {longest} on average, and {least} least, {shortest}."


def _causes(facts: Facts) -> list[str]:
    """Why jobs waited, the binding cause first."""
    if not facts.cause_shares:
        return []
    (first, most), *rest = facts.cause_shares.items()
    if words.percent(most.value) == "100 %":
        return [f"All of the waiting was because {_BECAUSE[first]}."]
    others = [
        f"{share.said()} because {_BECAUSE[cause]}" for cause, share in rest if share.value >= _WORTH_A_WORD
    ]
    sentence = f"{most.said()} of the waiting was because {_BECAUSE[first]}"
    return [f"{sentence}, {words.listed(others)}." if others else f"{sentence}."]


def _waste(facts: Facts) -> list[str]:
    """GPU time that did nothing: idle, lost to preemption or at a time limit, spent on restarts."""
    occupancy, stranded = facts.metric("occupancy"), facts.metric("fragmentation")
    if occupancy is None or facts.capacity_gpu_h == 0.0:
        return []
    idle = max(0.0, 1.0 - occupancy.value)
    hours = "" if _differs_in_length(facts) else f" ({words.gpu_hours(idle * facts.capacity_gpu_h)})"
    sentence = f"{words.percent(idle)} of the GPU time{hours} stood idle"
    if idle < _ROUNDING:
        sentence = "No GPU time stood idle"
    elif stranded is not None and stranded.value > 0.0:
        sentence += f", {stranded.said()} of that on nodes that were partly in use"
    lost = [
        f"{words.gpu_hours(facts.value(name))} {what}"
        for name, what in _LOSSES.items()
        if facts.value(name) > 0.0
    ]
    return [f"{sentence}.", *([f"On top of that, {words.listed(lost)}."] if lost else [])]


def _contention(facts: Facts) -> list[str]:
    """What jobs lost by sharing network and stores, and on what most."""
    lost, worst = facts.value("contention_gpu_h"), facts.links(1)
    if not lost or not worst or not facts.contention:
        return []
    parts = [
        f"{words.percent(hours / lost)} of that for {kind}"
        for kind, hours in facts.contention.items()
        if hours >= _WORTH_A_WORD * lost
    ]
    name, rate, used, _ = worst[0]
    power = facts.scenario.power
    what = "network, stores and power" if power is not None and power.limits else "network and stores"
    how_full = f", of which {words.percent(used)} was in use on average" if rate else ""
    sentence = (
        f"Jobs lost {words.gpu_hours(lost)} by waiting for {what}, {words.listed(parts)};"
        f" most on {name}{how_full}."
    )
    return [sentence]


def _collisions(facts: Facts) -> list[str]:
    """How much of the ways up is lost to flows that meet on them by chance."""
    network = facts.scenario.network
    if network is None or network.flows_per_node is None:
        return []
    pool = facts.scenario.fleet.pools[0]
    width = min(network.width(pool.nodes_per_rack), pool.nodes)
    used = words.percent(network.use(width))
    sentence = (
        f"Flows are spread over {network.spines} equal ways by their headers (ECMP): where some meet on one"
        f" others are free, so that leaves of {words.count(width, 'node')} use {used} of their ways up."
    )
    return [sentence]


def _sharing_binds(facts: Facts) -> list[str]:
    """What to do first where network and stores cost more than a word's worth of the GPU time in use."""
    lost, occupancy = facts.value("contention_gpu_h"), facts.value("occupancy")
    held = occupancy * facts.capacity_gpu_h
    if not facts.contention or lost < _WORTH_A_WORD * held:
        return []
    kind, hours = next(iter(facts.contention.items()))
    share = words.percent(hours / held)
    sentence = (
        f"What binds first: {kind}, not GPUs. More of it gives back up to {words.gpu_hours(hours)},"
        f" {share} of the GPU time that jobs hold; more GPUs would wait for it too."
    )
    return [sentence]


def _failures(facts: Facts) -> list[str]:
    """How often jobs were interrupted, and how much of their time was work."""
    effective, availability = facts.metric("effective_time"), facts.metric("availability")
    if effective is None or availability is None:
        return []
    hit, failed = facts.metric("interruptions"), facts.metric("failures")
    said = []
    if hit is not None and failed is not None and failed.value:
        said.append(
            f"{failed.said()} failures interrupted jobs {hit.said()} times; nodes were in service"
            f" {availability.said()} of the time."
        )
    return [*said, f"From their first start on, jobs did work that counted {effective.said()} of the time."]


def _power_and_cost(facts: Facts) -> list[str]:
    """What the fleet drew, and what an hour of work that counted cost."""
    said = []
    mean, peak, energy = (facts.metric(name) for name in ("power_mean_kw", "power_peak_kw", "energy_mwh"))
    if mean is not None and peak is not None and energy is not None:
        carbon = facts.metric("carbon_t")
        emitted = "" if carbon is None else f" and {carbon.said()} of carbon dioxide"
        said.append(
            f"Nodes drew {mean.said()} on average and {peak.said()} at most; the building used"
            f" {energy.said()}{emitted}."
        )
    cost, energy_cost = facts.metric("cost_per_useful_gpu_h"), facts.value("energy_cost")
    if cost is not None:
        whole = facts.value("gpu_cost") + energy_cost
        of_energy = f", {words.percent(energy_cost / whole)} of it energy" if energy_cost else ""
        said.append(f"An hour of a GPU's work that counted cost {cost.said()}{of_energy}.")
    return said


def _unfinished(facts: Facts) -> list[str]:
    """Jobs cut off by the end of the run, and what that does to the figures."""
    running, queued = facts.with_status("running"), facts.with_status("queued")
    killed, moved = facts.with_status("timed_out"), facts.value("moved_reservations")
    said = []
    if running or queued:
        states = [
            f"{number:,} {state}" for number, state in ((running, "running"), (queued, "queued")) if number
        ]
        cut = words.count(running + queued, "job") + _of_the_first(facts)
        bound = ", so waits are lower bounds" if queued else ""
        said.append(f"{cut} had not finished when the run ended ({' and '.join(states)}){bound}.")
    if killed:
        them = "it" if killed == 1 else "them"
        stopped = words.count(killed, "job") + _of_the_first(facts)
        said.append(f"{stopped} reached the time limit stated for {them} and stopped there.")
    if moved:
        plural = "promised start" if moved == 1.0 else "promised starts"
        starts = f"{words.significant(moved)} {plural}" + (" on average" if facts.replicated else "")
        scenario = facts.scenario
        shares = bool(scenario.traffic) or (scenario.power is not None and scenario.power.limits)
        slowed = " or was slowed down" if shares else ""
        nodes = f"{',' * shares} or nodes failed" if scenario.failures is not None else ""
        said.append(f"{starts} had to move because a running job outlived its estimate{slowed}{nodes}.")
    return said


def _rejections(facts: Facts, most: int = 3) -> list[str]:
    """Jobs that could never have started, by reason."""
    number = facts.with_status("rejected")
    if not number:
        return []
    said = [f"{reason} ({jobs:,})" for reason, jobs in facts.rejections[:most]]
    rest = sum(jobs for _, jobs in facts.rejections[most:])
    said += [f"other reasons ({rest:,})"] if rest else []
    jobs, were = words.count(number, "job") + _of_the_first(facts), "was" if number == 1 else "were"
    return [f"{jobs} {were} rejected: {words.listed(said)}."]


def _left_out(facts: Facts) -> list[str]:
    """Rows of the workload that never became jobs."""
    total = sum(facts.left_out.values())
    if not total:
        return []
    reasons = words.listed([f"{reason} ({number:,})" for reason, number in facts.left_out.items() if number])
    were = "was" if total == 1 else "were"
    workload = "the first replication's workload" if facts.replicated else "the workload"
    return [f"{words.count(total, 'row')} of {workload} {were} left out before the run: {reasons}."]


def _passed_over(facts: Facts) -> list[str]:
    """Whether wide jobs are starved by narrow ones that pass them, and what would help."""
    scheduler = facts.scenario.scheduler
    waits = {size: facts.metric("wait_mean_s", size_class=size) for size in facts.size_classes}
    means = {size: metric.value for size, metric in waits.items() if metric}
    if getattr(scheduler.blocking, "kind", "") != "greedy" or not means or binding_cause(facts) == "quota":
        return []
    longest, shortest = max(means, key=lambda size: means[size]), min(means, key=lambda size: means[size])
    is_wider = facts.size_classes.index(longest) > facts.size_classes.index(shortest)
    if not is_wider or means[longest] < _WAIT_THAT_MATTERS_S or means[longest] <= _FAR * means[shortest]:
        return []
    times = "more than 100"
    if means[longest] <= 100.0 * means[shortest]:
        times = words.significant(means[longest] / means[shortest], 2)
    said = (
        f"Jobs of {longest} waited {times} times as long as jobs of {shortest}: under `blocking: greedy` "
        "narrow jobs pass wide ones that do not fit yet"
    )
    patient = getattr(scheduler.placement, "patience", 0.0) > 0.0
    shares = facts.scenario.failures is not None or bool(facts.scenario.traffic)
    if scheduler.preempts or scheduler.reclaim or patient or shares:
        return [f"{said}."]
    return [f"{said}; `blocking: easy` would promise the first of them a start."]


def _next(facts: Facts) -> list[str]:
    """What to look at next, from what bound most."""
    cause = binding_cause(facts)
    if _sharing_binds(facts):
        return []  # said at the beginning
    if is_overloaded(facts):
        return ["Add GPUs or admit less work first: no policy can serve more GPU time than there is."]
    return [] if cause is None or facts.started_at_once >= _NEARLY_ALL else [_NEXT[cause]]
