"""Max-min fairness holds after whatever happens, as if all rates were found from nothing each time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import flows
from sim.flows import Activity, Fluid

CAPACITIES = st.lists(st.sampled_from([1.0, 2.0, 3.0, 5.0, 10.0]), min_size=1, max_size=6)
EVENT = st.tuples(
    st.sampled_from(["add", "add", "add", "remove", "end", "capacity"]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True),
    st.sampled_from([1.0, 1.0, 2.0, 0.5]),  # weight
    st.sampled_from([math.inf, math.inf, 0.7, 2.0]),  # cap
    st.integers(1, 40).map(lambda n: n / 3),  # amount, pause, capacity
    st.sampled_from([1.0, 1.0, 3.0]),  # usage of the first
)
EVENTS = st.lists(EVENT, min_size=1, max_size=40)
Spec = tuple[dict[int, float], float, float]


def from_nothing(capacities: list[float], specs: list[Spec]) -> list[float]:
    """Progressive filling of everything, as the textbook has it."""
    rates = [0.0] * len(specs)
    left, live = list(capacities), set(range(len(specs)))
    while live:
        levels = {n: specs[n][2] / specs[n][1] for n in live}
        for resource, room in enumerate(left):
            load = sum(specs[n][0].get(resource, 0.0) * specs[n][1] for n in live)
            for n in live:
                if specs[n][0].get(resource):
                    levels[n] = min(levels[n], max(room, 0.0) / load)
        lowest = min(levels.values())
        frozen = {n for n in live if levels[n] <= lowest * (1 + 1e-12)}
        for n in frozen:
            rates[n] = min(lowest * specs[n][1], specs[n][2])
            for resource, usage in specs[n][0].items():
                left[resource] -= usage * rates[n]
        live -= frozen
    return rates


class World:
    """A fluid with what was put into it."""

    def __init__(self, capacities: list[float]) -> None:
        self.fluid = Fluid()
        self.capacities = capacities
        self.links = [self.fluid.resource(f"link{n}", each) for n, each in enumerate(capacities)]
        self.there: list[tuple[Activity, Spec]] = []
        self.now_s = 0.0
        self.asked = 0.0
        self.undone = 0.0

    def happen(self, event: tuple[str, list[int], float, float, float, float]) -> None:
        what, links, weight, cap, number, usage = event
        fluid = self.fluid
        chosen = list(dict.fromkeys(link % len(self.links) for link in links))
        if what == "add":
            usages = {link: usage if n == 0 else 1.0 for n, link in enumerate(chosen)}
            flow = fluid.add(number, usages, self.now_s, weight=weight, cap=cap)
            self.there.append((flow, (usages, weight, cap)))
            self.asked += number
        elif what == "remove" and self.there:
            flow, _ = self.there.pop(links[0] % len(self.there))
            self.undone += fluid.remove(flow, self.now_s)
        elif what == "capacity":
            self.capacities[chosen[0]] = number
            fluid.set_capacity(chosen[0], number, self.now_s)
        elif what == "end":
            self.pass_by(number / 10)

    def pass_by(self, time_s: float) -> None:
        """Time goes on, and what ends on the way ends."""
        until_s = self.now_s + time_s
        while (end_s := self.fluid.next_end_s()) <= until_s and end_s < math.inf:
            assert end_s >= self.now_s
            self.now_s = end_s
            ended = set(self.fluid.end_due(end_s))
            assert ended
            self.there = [pair for pair in self.there if pair[0] not in ended]
        if until_s < math.inf:
            self.now_s = until_s


@given(capacities=CAPACITIES, events=EVENTS)
@settings(max_examples=300, deadline=None)
def test_rates_are_those_of_filling_everything_from_nothing(
    capacities: list[float], events: list[tuple[str, list[int], float, float, float, float]]
) -> None:
    world = World(capacities)
    for event in events:
        world.happen(event)
        world.fluid.check()
        expected = from_nothing(world.capacities, [spec for _, spec in world.there])
        assert [world.fluid.rate(flow) for flow, _ in world.there] == pytest.approx(
            expected, rel=1e-7, abs=1e-12
        )


@given(capacities=CAPACITIES, events=EVENTS)
@settings(max_examples=100, deadline=None)
def test_the_next_end_is_known_while_void_notes_are_thrown_out(
    capacities: list[float], events: list[tuple[str, list[int], float, float, float, float]]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flows, "MANY_VOID", -1_000_000)  # at every note
        world = World(capacities)
        for event in events:
            world.happen(event)
            world.fluid.check()


@given(capacities=CAPACITIES, events=EVENTS)
@settings(max_examples=150, deadline=None)
def test_what_was_asked_was_done_or_left(
    capacities: list[float], events: list[tuple[str, list[int], float, float, float, float]]
) -> None:
    world = World(capacities)
    single = world.fluid.resource("all of it", 1e6)  # everything goes through it once: it counts what is done
    for what, links, weight, cap, number, usage in events:
        if what == "add":
            usages = {link % len(world.links): usage for link in links[:1]} | {single: 1.0}
            flow = world.fluid.add(number, usages, world.now_s, weight=weight, cap=cap)
            world.there.append((flow, (usages, weight, cap)))
            world.asked += number
        else:
            world.happen((what, links, weight, cap, number, usage))
    left = sum(world.fluid.left(flow, world.now_s) for flow, _ in world.there)
    done = world.fluid.moved(single, world.now_s)
    assert done + left + world.undone == pytest.approx(world.asked, rel=1e-9, abs=1e-9)
    world.pass_by(math.inf)
    assert not world.there
    done = world.fluid.moved(single, world.now_s)
    assert done + world.undone == pytest.approx(world.asked, rel=1e-9, abs=1e-9)


@given(
    amounts=st.lists(st.integers(1, 100).map(float), min_size=2, max_size=10),
    weights=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=10, max_size=10),
    gone=st.integers(0, 9),
)
def test_on_one_resource_who_is_taken_away_slows_nobody(
    amounts: list[float], weights: list[float], gone: int
) -> None:
    def ends(without: int | None) -> dict[object, float]:
        fluid = Fluid()
        link = fluid.resource("link", 7.0)
        for n, amount in enumerate(amounts):
            if n != without:
                fluid.add(amount, [link], 0.0, weight=weights[n], what=n)
        found: dict[object, float] = {}
        while (end_s := fluid.next_end_s()) < math.inf:
            found |= {each.what: end_s for each in fluid.end_due(end_s)}
        return found

    everybody, fewer = ends(None), ends(gone % len(amounts))
    assert all(fewer[n] <= everybody[n] * (1 + 1e-9) for n in fewer)


@given(capacities=CAPACITIES, events=EVENTS)
@settings(max_examples=50, deadline=None)
def test_the_same_happens_again(
    capacities: list[float], events: list[tuple[str, list[int], float, float, float, float]]
) -> None:
    def played() -> list[float]:
        world = World(list(capacities))
        told = []
        for event in events:
            world.happen(event)
            told += [world.fluid.next_end_s(), *(world.fluid.rate(flow) for flow, _ in world.there)]
        return told

    assert played() == played()
