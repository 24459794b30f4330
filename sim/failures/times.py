"""When what fails: exact times and victims from the rates of components, or from a log."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from pathlib import Path

import numpy as np

from sim.errors import Fault, TraceError
from sim.failures.spec import Component, Failures
from sim.streams import stream

NEEDED = ("time_s", "node")
AT_ONCE = 256
"""Times that are drawn at once."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: when, of what, the node or rack of nodes that it takes, and how long the repair takes."""

    time_s: float
    component: str
    nodes: tuple[int, ...]
    repair_s: float


@dataclass(frozen=True, slots=True)
class Hall:
    """Where components are: GPUs of each node, nodes of each rack, and the names of nodes for logs."""

    gpus: Sequence[int]
    racks: Sequence[tuple[int, ...]]
    names: Sequence[str]


class FailureTimes:
    """Failures in order of time. Every component has random streams of its own.

    Components that fail at random are one Poisson process together, whose victim is drawn when it strikes:
    exact, and as cheap for 100,000 GPUs as for one. Others have their next time each.
    """

    def __init__(self, spec: Failures, hall: Hall, seed: int, folder: Path = Path()) -> None:
        self._hall = hall
        self._rack_of = {node: rack for rack in hall.racks for node in rack}
        self._weights = _weights(spec, len(hall.gpus), seed)
        self._cured_share = 0.0 if spec.lemons is None else spec.lemons.cured
        self._cures = stream(seed, "failures", "lemons", "cured")
        self._queue: list[tuple[float, int, int]] = []
        """(time, component, unit); unit -1 where the victim is yet to be drawn."""
        self._sources = [
            _Source(component, self._units(component), seed) for component in spec.all_components
        ]
        self._recorded = list(reversed(read_log(folder / spec.log, hall.names))) if spec.log else []
        for place, source in enumerate(self._sources):
            self._queue += [(time_s, place, unit) for time_s, unit in source.first()]
        heapify(self._queue)

    @property
    def next_s(self) -> float:
        """When the next failure strikes; infinite when none will."""
        if self._recorded:
            return self._recorded[-1].time_s
        return self._queue[0][0] if self._queue else math.inf

    def pop(self) -> Failure:
        """The next failure; there must be one."""
        if self._recorded:
            return self._recorded.pop()
        time_s, place, unit = heappop(self._queue)
        source = self._sources[place]
        victim = unit if unit >= 0 else source.victim()
        repair_s = source.repair_s()
        heappush(self._queue, (source.next_s(time_s, repair_s, unit), place, unit))
        component = source.component
        if component.per == "rack":
            nodes = self._hall.racks[victim]
        elif component.taken == "rack":
            nodes = self._rack_of[source.node_of[victim]]
        else:
            nodes = (source.node_of[victim],)
        return Failure(time_s, component.name, nodes, repair_s)

    def repaired(self, node: int, now_s: float) -> None:
        """A node comes back from repair; if it was a lemon, it may be none any more.

        Failures at random then come less often from now on, and the next one as much later: what is left of
        an exponential time is exponential.
        """
        if not self._cured_share or self._weights[node] == 1.0 or self._cures.random() >= self._cured_share:
            return
        self._weights[node] = 1.0
        slower = [source.cure(node) for source in self._sources]
        self._queue = [
            (now_s + (time_s - now_s) * slower[place] if unit < 0 else time_s, place, unit)
            for time_s, place, unit in self._queue
        ]
        heapify(self._queue)

    def _units(self, component: Component) -> tuple[list[int], list[float]]:
        """The node of each unit of a component, and how often it fails against others."""
        if component.per == "rack":
            return [rack[0] for rack in self._hall.racks], [1.0] * len(self._hall.racks)
        nodes = [
            node
            for node, gpus in enumerate(self._hall.gpus)
            for _ in range(gpus if component.per == "gpu" else 1)
        ]
        return nodes, [self._weights[node] for node in nodes]


class _Source:
    """The failures of all components of one kind."""

    def __init__(self, component: Component, units: tuple[list[int], list[float]], seed: int) -> None:
        self.component = component
        self.node_of, weights = units
        self._nodes = np.array(self.node_of)
        self._weights = np.array(weights)
        self._steps = np.cumsum(self._weights)
        self._even = bool((self._weights == self._weights[0]).all()) if weights else True
        self._times = stream(seed, "failures", component.name, "times")
        self._victims = stream(seed, "failures", component.name, "victims")
        self._repairs = stream(seed, "failures", component.name, "repairs")
        self._rate = float(self._weights.sum()) / component.mean_time_between
        self._lives: list[float] = []
        """Times to the next failures at a rate of one, the next one last."""
        self._drawn_s: list[float] = []
        """Lengths of the next repairs, the next one last."""

    @property
    def _at_random(self) -> bool:
        return self.component.shape == 1.0

    def first(self) -> list[tuple[float, int]]:
        """The first times, and of which unit."""
        if not self.node_of:
            return []
        if self._at_random:
            return [(float(self._times.exponential(1 / self._rate)), -1)]
        lives = self._times.weibull(self.component.shape, len(self.node_of)) * self._scale_s / self._weights
        return [(float(life), unit) for unit, life in enumerate(lives)]

    @property
    def _scale_s(self) -> float:
        """Weibull's scale for the mean: mean / Gamma(1 + 1/shape)."""
        return self.component.mean_time_between / math.gamma(1 + 1 / self.component.shape)

    def next_s(self, time_s: float, repair_s: float, unit: int) -> float:
        """When the next one strikes, or the same unit again after its repair."""
        if self._at_random:
            if not self._lives:
                self._lives = self._times.standard_exponential(AT_ONCE)[::-1].tolist()
            return time_s + self._lives.pop() / self._rate
        life = float(self._times.weibull(self.component.shape)) / float(self._weights[unit])
        return time_s + repair_s + life * self._scale_s

    def cure(self, node: int) -> float:
        """A node fails as others do from now on; returns how many times longer it is to the next failure."""
        if self.component.per == "rack":
            return 1.0
        before = self._rate
        self._weights[self._nodes == node] = 1.0
        self._steps = np.cumsum(self._weights)
        self._rate = float(self._steps[-1]) / self.component.mean_time_between
        return before / self._rate

    def victim(self) -> int:
        """Which unit it is, lemons more often."""
        if self._even:
            return int(self._victims.integers(len(self.node_of)))
        return int(self._steps.searchsorted(self._victims.random() * self._steps[-1], side="right"))

    def repair_s(self) -> float:
        """How long a technician works on it."""
        if not self._drawn_s:
            self._drawn_s = self.component.repair.sample(self._repairs, AT_ONCE)[::-1].tolist()
        return self._drawn_s.pop()


def _weights(spec: Failures, nodes: int, seed: int) -> list[float]:
    """How often each node's components fail against those of others: lemons are drawn once."""
    weights = [1.0] * nodes
    if spec.lemons is not None:
        count = round(spec.lemons.share * nodes)
        for node in stream(seed, "failures", "lemons").choice(nodes, count, replace=False):
            weights[int(node)] = spec.lemons.times
    return weights


def read_log(path: Path, names: Sequence[str]) -> list[Failure]:
    """Failures of a CSV of ``time_s,node`` and optionally ``repair_s,component``, in order of time.

    A node is its name, as in the tables of results, or its number. Raises TraceError with every faulty line.
    """
    number = {name: place for place, name in enumerate(names)} | {str(n): n for n in range(len(names))}
    found, faults = [], []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(str(path), [Fault(None, "", f"cannot be read: {error}")], 1) from None
    missing = [name for name in NEEDED if not rows or name not in rows[0]]
    if missing:
        raise TraceError(str(path), [Fault(1, "", f"needs the columns {', '.join(NEEDED)}")], 1)
    for line, row in enumerate(rows, start=2):
        told = _fault(row, number)
        if told is not None:
            faults.append(Fault(line, "", told))
            continue
        nodes = (number[row["node"]],)
        component = row.get("component") or "recorded"
        found.append(Failure(float(row["time_s"]), component, nodes, float(row.get("repair_s") or 0.0)))
    if faults:
        raise TraceError(str(path), faults, len(faults))
    return sorted(found, key=lambda failure: failure.time_s)


def _fault(row: Mapping[str, str | None], number: Mapping[str, int]) -> str | None:
    """What is wrong with a line of a log; None if nothing is."""
    for name in ("time_s", "repair_s"):
        try:
            value = float(row.get(name) or (0.0 if name == "repair_s" else "nothing"))
        except ValueError:
            return f'{name} is "{row.get(name)}", not a number of seconds'
        if not 0 <= value < math.inf:
            return f"{name} is {value:g}; a time is 0 or more and finite"
    if row["node"] not in number:
        return f'there is no node "{row["node"]}"; the first is "{next(iter(number))}"'
    return None
