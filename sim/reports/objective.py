"""What was wanted of the fleet and what was reached, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim import words

_SHARES = {"occupancy": "was allocated to jobs", "utilisation": "went into work that was kept"}


def told(objectives: Sequence[Mapping[str, Any]]) -> list[str]:
    """Objectives met and missed, and over replications how sure that is."""
    missed = [objective_text(objective) for objective in objectives if not objective["met"]]
    number = len(objectives)
    if number == 0:
        return []
    if number == 1:
        verdict = "missed" if missed else "met"
        return [f"The objective is {verdict}: {objective_text(objectives[0])}."]
    if not missed:
        return [f"All {number} objectives are met{_all_sure(objectives)}."]
    if len(missed) == 1:
        return [f"1 of {number} objectives is missed: {missed[0]}."]
    return [f"{len(missed)} of {number} objectives are missed.", *(f"Missed: {text}." for text in missed)]


def _all_sure(objectives: Sequence[Mapping[str, Any]]) -> str:
    """How sure it is that several objectives are met; empty without replications."""
    judged = [objective for objective in objectives if objective.get("interval")]
    unsure = sum(objective.get("confident") is None for objective in judged)
    if not judged:
        return ""
    if unsure == 0 and len(judged) == len(objectives):
        return ", with 95 % confidence"
    if unsure == 0:
        return f", {len(judged):,} of them with 95 % confidence"
    lies = "interval lies" if unsure == 1 else "intervals lie"
    return f", but for {unsure:,} of them the {lies} on both sides of the bound"


def objective_text(objective: Mapping[str, Any]) -> str:
    """One objective and what was reached, for a sentence or a table."""
    metric, tenant, unit = objective["metric"], objective.get("tenant"), objective.get("unit", "")
    at_most = objective.get("at_most") is not None
    bound = objective["at_most"] if at_most else objective["at_least"]
    wanted = f"wanted: at {'most' if at_most else 'least'} {words.in_unit(bound, unit)}"
    if objective.get("value") is None:
        return f"{metric}{f' of {tenant}' if tenant else ''} has no value; {wanted}"
    value = words.beside(objective["value"], bound, unit)
    return f"{_reached(metric, tenant, value)}; {wanted}{_sure(objective)}"


def _reached(metric: str, tenant: str | None, value: str) -> str:
    """What a metric came to, in words where they are clearer than its name.

    >>> _reached("wait_p95_s", "research", "3 h"), _reached("occupancy", None, "60 %")
    ("95 % of research's jobs waited 3 h or less", '60 % of the GPU time was allocated to jobs')
    """
    whose, (what, _, which) = f"{tenant}'s" if tenant else "all", metric.removesuffix("_s").partition("_")
    did = {"wait": "waited", "jct": "completed within"}.get(what)
    if did and which == "mean":
        spent = f"waited {value}" if what == "wait" else f"took {value} from submission to completion"
        return f"on average {whose} jobs {spent}"
    if did and which.startswith("p"):
        return f"{which[1:]} % of {whose} jobs {did} {value}{' or less' if what == 'wait' else ''}"
    if metric == "effective_time":
        return f"from their first start on, jobs did work that counted {value} of the time"
    if metric == "availability":
        return f"nodes were in service {value} of the time"
    if metric in _SHARES:
        return f"{value} of {whose if tenant else 'the'} GPU time {_SHARES[metric]}"
    return f"{metric}{f' of {tenant}' if tenant else ''} is {value}"


def _sure(objective: Mapping[str, Any]) -> str:
    """What the interval over replications says about the bound; empty without one."""
    if not objective.get("interval"):
        return ""
    if objective.get("confident") is not None:
        return f"; {'met' if objective['met'] else 'missed'} with 95 % confidence"
    return "; the interval lies on both sides of the bound"
