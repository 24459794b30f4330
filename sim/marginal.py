"""What one more of each thing would buy: the same scenario with one part enlarged, and what that changes.

Jobs and failures are drawn from the same seeds, so that runs differ by what was enlarged. Nothing is guessed:
every figure is that of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sim import statistics, words

if TYPE_CHECKING:
    from sim.network import Network
    from sim.results import Results
    from sim.scenario import Scenario

A_QUARTER: Final = 1.25
"""What has no natural unit becomes so much larger."""
A_TENTH: Final = 1.1
TOLD: Final = ("jct_mean_s", "wait_mean_s", "goodput_gpu_h", "contention_gpu_h", "effective_time", "gpu_cost")
"""Metrics that tell what something buys."""


@dataclass(frozen=True, slots=True)
class Change:
    """One part of a scenario enlarged."""

    name: str
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Gain:
    """A metric without and with a change; the interval is of what it moved by in paired replications."""

    metric: str
    before: float
    after: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Bought:
    """What one change buys."""

    name: str
    gains: tuple[Gain, ...]

    def gain(self, metric: str) -> Gain | None:
        """That of one metric; None where the scenario does not have it."""
        return next((gain for gain in self.gains if gain.metric == metric), None)


def changes(scenario: Scenario) -> Iterator[Change]:
    """Every part of a scenario that can be enlarged, by a rack, a unit, a quarter or one."""
    drawn = scenario.network is not None and scenario.network.is_drawn
    for place, pool in enumerate(() if drawn else scenario.fleet.pools):  # no switch is drawn for more
        more = min(pool.nodes_per_rack, pool.nodes)
        larger = pool.model_copy(update={"nodes": pool.nodes + more})
        pools = _with(scenario.fleet.pools, place, larger)
        yield _changed(
            scenario, f"{words.count(more, 'more node')} of {pool.name}",
            fleet=scenario.fleet.model_copy(update={"pools": pools}),
        )  # fmt: skip
    if scenario.network is not None:
        for name, wider in _wider(scenario.network):
            yield _changed(scenario, name, network=wider)
    for place, store in enumerate(scenario.stores):
        if store.tier is not None and store.read is None and store.write is None:
            larger_store = store.model_copy(update={"units": store.units + 1})
            name = f"one more {store.tier} in {store.name}"
        else:
            faster = {"read": store.reads * A_QUARTER, "write": store.takes * A_QUARTER}
            larger_store, name = store.model_copy(update=faster), f"{store.name} a quarter faster"
        yield _changed(scenario, name, stores=_with(scenario.stores, place, larger_store))
    failures = scenario.failures
    if failures is not None and failures.technicians is not None:
        crew = failures.model_copy(update={"technicians": failures.technicians + 1})
        yield _changed(scenario, "one more technician", failures=crew)
    power = scenario.power
    for field, what in (("limit", "power of the hall"), ("rack_limit", "power of racks")):
        if power is not None and (limit_w := getattr(power, field)) is not None:
            yield _changed(
                scenario, f"a tenth more {what}", power=power.model_copy(update={field: limit_w * A_TENTH})
            )


def _wider(network: Network) -> Iterator[tuple[str, Network]]:
    """A network whose ways between switches carry more, where they can."""
    if network.is_drawn:
        switches = tuple(
            each.model_copy(update={"up": each.up and each.up * A_QUARTER}) for each in network.switches
        )
        links = tuple(each.model_copy(update={"rate": each.rate * A_QUARTER}) for each in network.links)
        if len(switches) > 1:
            yield (
                "all links a quarter wider",
                network.model_copy(update={"switches": switches, "links": links}),
            )
    elif network.spines is not None:
        more_ways = (network.spines + 1) / network.spines
        wider = {"spines": network.spines + 1, "oversubscription": network.oversubscription / more_ways}
        yield "one more spine switch", network.model_copy(update=wider)
    elif network.oversubscription > 1:
        less = max(1.0, network.oversubscription / A_QUARTER)
        yield "ways up from leaves a quarter wider", network.model_copy(update={"oversubscription": less})


def _changed(scenario: Scenario, name: str, **parts: Any) -> Change:  # noqa: ANN401 - parts of a scenario
    return Change(name, scenario.model_copy(update=parts))


def _with(parts: Sequence[Any], place: int, changed: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any parts
    return (*parts[:place], changed, *parts[place + 1 :])


def bought(name: str, before: Sequence[Results], after: Sequence[Results]) -> Bought:
    """What a change buys, from runs without and with it; the n-th of both had the same random numbers."""
    gains = []
    for metric in TOLD:
        if metric not in {row["name"] for row in before[0].summary["metrics"]}:
            continue
        pairs = [(one.metric(metric), other.metric(metric)) for one, other in zip(before, after, strict=True)]
        known = [(one, other) for one, other in pairs if one is not None and other is not None]
        if not known:
            continue
        was = sum(one for one, _ in known) / len(known)
        now = sum(other for _, other in known) / len(known)
        low = high = None
        if len(known) > 1:
            interval = statistics.t_interval([other - one for one, other in known])
            low, high = interval.low, interval.high
        gains.append(Gain(metric, was, now, low, high))
    return Bought(name, tuple(gains))
