"""The capacity report as one self-contained HTML page: the answer, then the figures, then the methods.

Nothing is loaded from anywhere, no script runs, and everything a user has named is escaped, so that the file
can be sent on. It says nothing of when it was made: the same run gives the same bytes.
"""

from __future__ import annotations

import re
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, TextIO

from sim import scenario as scenarios
from sim import words
from sim.reports import figures
from sim.reports.answer import sentences
from sim.reports.facts import CAUSE_MEANINGS, CAUSE_NAMES, Facts
from sim.reports.objective import objective_text
from sim.reports.svg import Markup, element, escaped, joined

if TYPE_CHECKING:
    from sim.results import Results

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")

METRIC_MEANINGS = {
    "wait": "all the time a job was in the queue; one that still is counts with its wait so far",
    "completion time": "from submission to the end; jobs that did not do all their work are not in it",
    "percentiles": "95 % within 2 h: of all jobs, 95 % waited 2 h or less",
    "between": "the 95 % interval of a mean over replications, from Student's distribution",
    "occupancy": "GPU time allocated to jobs, as a share of all GPU time there was",
    "utilisation": "the part of it that went into work that was kept; GPUs idle inside a job are not seen",
    "offered load": "GPU time that the jobs need, as a share of what there is from the first submission to "
    "the last; above 100 % no policy can keep up",
    "idle on nodes partly in use": "free GPUs on nodes of which other GPUs were held",
    "bounded slowdown": "completion time over run time, with run times of 10 s at least",
    "Jain's fairness index": "how alike the mean bounded slowdowns of the tenants are: 1 when equal, 1/n "
    "when one of n bears it all",
    "finish-time fairness": "completion time over the time alone on an equal share of the fleet; above 1 the "
    "job lost by sharing",
    "lower bound": "a job still queued when the run ended has waited at least that long",
}


def render(results: Results, out: TextIO) -> None:
    """Write the report of one run."""
    facts = Facts(results)
    write_page(f"{facts.scenario.name}: capacity report", _body(facts), out)


def write_page(title: str, body: str, out: TextIO) -> None:
    """A whole page in the style of the reports, around a body of markup."""
    style = files("sim.reports").joinpath("report.css").read_text(encoding="utf-8")
    out.write(_PAGE.substitute(title=escaped(title), style=style, body=escaped(body)))


def _body(facts: Facts) -> Markup:
    first, *rest = sentences(facts.results)
    return joined(
        [
            element("p", "Capacity report", class_="over"),
            element("h1", facts.scenario.name),
            element("p", facts.scenario.description, class_="about"),
            element("p", unbroken(first), class_="lead"),
            element("div", *(element("p", unbroken(sentence)) for sentence in rest), class_="told"),
            _numbers(facts),
            _objectives(facts),
            figures.gpu_time(facts),
            figures.over_time(facts),
            element("div", figures.wait_by_size(facts), figures.wait_curve(facts), class_="pair"),
            figures.causes(facts),
            figures.pools_over_time(facts),
            figures.heat_map(facts),
            figures.tenants(facts),
            figures.links(facts),
            figures.links_over_time(facts),
            figures.failures(facts),
            _methods(facts),
        ]
    )


def unbroken(sentence: str) -> str:
    """A sentence whose numbers stay on one line with their units.

    >>> unbroken("2 h 5 min or 3 %") == "2\N{NO-BREAK SPACE}h 5\N{NO-BREAK SPACE}min or 3\N{NO-BREAK SPACE}%"
    True
    """
    return re.sub(
        r"(?<=\d) (?=(?:%|d|h|min|s|ms|GPUs?|jobs?|nodes?)(?:\W|$))", "\N{NO-BREAK SPACE}", sentence
    )


def _numbers(facts: Facts) -> Markup:
    """The few numbers that everybody asks for first."""
    shown = (
        ("GPU time allocated", "occupancy"),
        ("GPU time asked for", "offered_load"),
        ("mean wait", "wait_mean_s"),
        ("95 % waited at most", "wait_p95_s"),
        ("mean completion time", "jct_mean_s"),
        ("work done", "goodput_gpu_h"),
    )
    pieces = []
    for name, key in shown:
        metric = facts.metric(key)
        if metric is None:
            continue
        interval = Markup("")
        if metric.interval:
            low, high = (words.in_unit(end, metric.unit) for end in metric.interval)
            interval = element("small", unbroken(f"between {low} and {high}"))
        pieces.append(
            element(
                "div", element("dt", name), element("dd", words.in_unit(metric.value, metric.unit), interval)
            )
        )
    return element("dl", *pieces, class_="numbers") if pieces else Markup("")


def _objectives(facts: Facts) -> Markup:
    """Every objective with what was reached."""
    if not facts.objectives:
        return Markup("")
    rows = [
        (
            objective_text(objective),
            element(
                "span", "met" if objective["met"] else "missed", class_="" if objective["met"] else "missed"
            ),
        )
        for objective in facts.objectives
    ]
    return element(
        "section", element("h2", "Objectives"), figures.table({"wanted and reached": "", "": "n"}, rows)
    )


def _methods(facts: Facts) -> Markup:
    """How to read the numbers, what was left out, and the scenario itself."""
    meanings = METRIC_MEANINGS | {
        f"cause: {CAUSE_NAMES[cause]}": meaning for cause, meaning in CAUSE_MEANINGS.items()
    }
    terms = [
        element("div", element("dt", name), element("dd", meaning)) for name, meaning in meanings.items()
    ]
    return element(
        "footer",
        element("h3", "What the words mean"),
        element("dl", *terms),
        element("h3", "What was left out"),
        element("ul", *(element("li", line) for line in left_out(facts))),
        element("h3", "How it was made"),
        element("p", _made(facts)),
        element(
            "details",
            element("summary", "The scenario, with every default"),
            element("pre", scenarios.dump(facts.scenario)),
        ),
        class_="methods",
    )


def left_out(facts: Facts) -> list[str]:
    """What is not in the numbers, and why, and what was noted on the way."""
    lines = [f"{reason}: {words.count(number, 'row')}" for reason, number in facts.left_out.items() if number]
    warm_up = len(facts.tables["jobs"]) - len(facts.jobs)
    if facts.start_s > 0.0:
        span = words.duration(facts.start_s)
        lines.append(
            f"{words.count(warm_up, 'job')} submitted in the warm-up of {span}: simulated, not counted"
        )
    return [*lines, *facts.notes] or ["Nothing."]


def _made(facts: Facts) -> str:
    jobs, nodes = words.count(len(facts.tables["jobs"]), "job"), words.count(facts.nodes, "node")
    seeds = ", ".join(str(seed) for seed in facts.results.seeds)
    return (
        f"Simulated event by event from the scenario below, seed {seeds}: {jobs} on {nodes}, "
        f"{words.duration(facts.end_s)} of simulated time. Every figure is computed from the recorded "
        "starts, ends and waits, exact between events; the same scenario and seed give the same report."
    )
