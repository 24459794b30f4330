"""The structures that make the simulator fast hold what a plain list would hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sim.blocking.backlog import BLOCK, Backlog
from sim.cluster import Gang, Pool, parts_of
from sim.line import Line
from sim.placement import PLACEMENT
from sim.ranking import Ranking

RULES = {name: rule() for name, rule in PLACEMENT.items()}


class PoolBesideAList(RuleBasedStateMachine):
    """Gangs come and go by any placement; the index of the pool equals a recount of the nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool("pool", "", 7, 4, first_node=3, nodes_per_rack=3, nodes_per_domain=2)
        self.free = [4] * 7
        self.held: list[tuple[Any, Gang]] = []

    @rule(gpus=st.integers(1, 28), nodes=st.none() | st.integers(1, 7), name=st.sampled_from(sorted(RULES)))
    def a_gang_comes(self, gpus: int, nodes: int | None, name: str) -> None:
        if nodes is not None and nodes > gpus:
            return
        gang = Gang(gpus, parts_of(gpus, 4, nodes))
        placement = RULES[name].find(self.pool, gang)
        widths = [width for width, count in gang.parts for _ in range(count)]
        room = sorted(self.free, reverse=True)
        fits = sum(self.free) >= gpus
        if name != "scatter":
            fits = len(widths) <= 7 and all(w <= r for w, r in zip(widths, room, strict=False))
            assert self.pool.fits(gang) == fits
        assert (placement is not None) == fits == RULES[name].fits(self.pool, gang)
        if placement is None:
            return
        if name != "scatter":
            assert sorted((held for _, held in placement), reverse=True) == sorted(widths, reverse=True)
        assert sum(held for _, held in placement) == gpus
        self.pool.take(placement, gang)
        for node, held in placement:
            self.free[node - 3] -= held
        self.held.append((placement, gang))

    @precondition(lambda self: self.held)
    @rule(choice=st.integers(0, 100))
    def a_gang_goes(self, choice: int) -> None:
        placement, gang = self.held.pop(choice % len(self.held))
        self.pool.give(placement, gang)
        for node, held in placement:
            self.free[node - 3] += held

    @invariant()
    def the_index_equals_a_recount(self) -> None:
        pool = self.pool
        assert list(pool.free) == self.free
        assert min(self.free) >= 0
        assert pool.free_gpus == sum(self.free)
        for gpus in range(5):
            nodes = {node for node, free in enumerate(self.free) if free == gpus}
            assert pool.buckets[gpus] == sum(1 << node for node in nodes)
            assert bool(pool.levels >> gpus & 1) == bool(nodes)
            assert pool.nodes_with(gpus) == sum(1 << n for n, free in enumerate(self.free) if free >= gpus)


TestPoolBesideAList = pytest.mark.filterwarnings("default")(PoolBesideAList.TestCase)
TestPoolBesideAList.settings = settings(max_examples=60, stateful_step_count=40)


class Waiting:
    """As much of a job as the queues look at."""

    def __init__(self, remaining_s: float) -> None:
        self.remaining_s = remaining_s


@given(st.lists(st.integers(0, 12) | st.none(), max_size=200))
def test_a_line_gives_what_a_sorted_list_would(steps: list[int | None]) -> None:
    line, plain = Line(), []
    for row, step in enumerate(steps):
        if step is not None:
            entry = (float(step), row, Waiting(1.0))
            line.push(entry)  # type: ignore[arg-type]
            plain = sorted([*plain, entry], key=lambda entry: entry[:2])
        elif plain:
            assert line.first is plain[0]
            assert line.pop() is plain.pop(0)
        assert bool(line) == bool(plain)
        assert sorted(entry[:2] for entry in line) == [entry[:2] for entry in plain]


@settings(max_examples=60)
@given(
    st.integers(0, 3 * BLOCK),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60),
    st.data(),
)
def test_a_backlog_finds_the_first_that_is_short_enough(
    before: int, steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    backlog, plain = Backlog(), []
    for row in range(before + len(steps)):
        key, remaining_s = steps[row - before] if row >= before else (row * 7 % 10, row * 5 % 11)
        entry = (float(key), row, Waiting(float(remaining_s)))
        backlog.add(entry)  # type: ignore[arg-type]
        plain = sorted([*plain, entry], key=lambda entry: entry[:2])
        if row % 3 == 0:
            gone = plain.pop(data.draw(st.integers(0, len(plain) - 1)) if row >= before else row % len(plain))
            backlog.remove(gone)  # type: ignore[arg-type]
        if row < before:
            continue
        assert list(backlog) == [job for _, _, job in plain]
        assert bool(backlog) == bool(plain)
        if not plain:
            continue
        assert backlog.first() is plain[0]
        for limit_s in (-1.0, 0.0, 3.0, 20.0):
            but = plain[0][2]
            short = (entry for entry in plain if entry[2].remaining_s <= limit_s and entry[2] is not but)
            assert backlog.first_within(limit_s, but) is next(short, None)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=300))
def test_a_ranking_gives_what_a_sorted_list_would(steps: list[tuple[bool, int]]) -> None:
    ranking, plain = Ranking(), []
    for row, (comes, key) in enumerate(steps):
        if comes or not plain:
            rank = (float(key), row)
            ranking.add(rank, Waiting(row))  # type: ignore[arg-type]
            plain = sorted([*plain, rank])
        else:
            ranking.remove(plain.pop(key % len(plain)))
        assert [rank for rank, _ in ranking] == plain
        assert len(ranking) == len(plain)
        if plain:
            assert ranking.last == plain[-1]
        worse = [job.remaining_s for job in ranking.worse_than((5.0,))]
        assert worse == [row for key, row in reversed(plain) if key >= 5]


def test_a_long_ranking_stays_in_order_whatever_leaves() -> None:
    ranking, ranks = Ranking(), [((row * 7919 % 5000) / 10, row) for row in range(5000)]
    for rank in ranks:
        ranking.add(rank, Waiting(0.0))  # type: ignore[arg-type]
    assert [rank for rank, _ in ranking] == sorted(ranks)
    for rank in ranks[::2]:
        ranking.remove(rank)
    assert [rank for rank, _ in ranking] == sorted(ranks[1::2])
    for rank in sorted(ranks[1::2])[:2400]:
        ranking.remove(rank)
    assert [rank for rank, _ in ranking] == sorted(ranks[1::2])[2400:]
    assert ranking.last == max(ranks[1::2])
