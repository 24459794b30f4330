"""Blocking rules: who may pass a job that does not fit. One file adds one; `BLOCKING` lists them."""

from __future__ import annotations

from sim.blocking.conservative import Conservative
from sim.blocking.easy import Easy
from sim.blocking.greedy import Greedy
from sim.blocking.queue import Blocking, Queue
from sim.blocking.strict import Strict

BLOCKING: dict[str, type[Blocking]] = {
    "strict": Strict,
    "greedy": Greedy,
    "easy": Easy,
    "conservative": Conservative,
}

__all__ = ["BLOCKING", "Blocking", "Conservative", "Easy", "Greedy", "Queue", "Strict"]
