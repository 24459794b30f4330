"""How much of a data set that is read in a new random order in every pass is found in a cache.

A cache holds the share c of the data set. In the first pass nothing is found. Later, what is kept for good
is found with probability c; least recently used finds far less, as what comes soon was often used long ago;
first in, first out a little more than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Final, Generic, Literal, TypeAlias, TypeVar, get_args

import numpy as np

from sim.errors import PlanError

Policy: TypeAlias = Literal["static", "lru", "fifo", "none"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)
GRID: Final = 2000
Who = TypeVar("Who")


def hit_ratio(policy: Policy, share: float, readers: float = 1.0) -> float:
    """Share of the reads of a later pass that a cache serves which holds such a share of the data set.

    static: c, as MinIO caches (Mohan et al., VLDB 2021). lru: c + (1 - c) ln(1 - c) / k for k readers, each
    in orders of its own and as fast as the others. Each passes T while what is read drops from the cache,
    with (1 - T)^k = 1 - c; at the place u of its pass a reader finds (c - T) / (1 - T), where u > T, and else
    1 - (1 - c) / (1 - u). fifo is set as much nearer to c by more readers. Played with 2 to 8 readers, that
    is right to 0.02 (lru) and 0.035 (fifo). Raises PlanError for a share below 0; more than the whole data
    set is the whole.

    >>> [round(hit_ratio(policy, 0.5), 2) for policy in ("static", "lru", "fifo", "none")]
    [0.5, 0.15, 0.19, 0.0]
    >>> round(hit_ratio("lru", 0.5, 4), 2)
    0.41
    """
    if not share >= 0:
        raise PlanError(f"a cache holds a share of 0 or more of a data set, not {share:g}")
    c = min(share, 1.0)
    if policy == "none" or c == 0:
        return 0.0
    if c == 1.0 or policy == "static":
        return c
    alone = c + (1 - c) * math.log1p(-c) if policy == "lru" else _fifo(c)
    return c - (c - alone) / readers


def found_together(
    there: float, most: float, reader: tuple[float, float], others: Sequence[tuple[float, float]], part: float
) -> float:
    """Share of the next part of a first pass that a reader finds while others fill the same caches.

    The caches hold the share ``there`` of the data set, and ``most`` once they are full. Of each reader it is
    known how much it has passed, and how much of that is in the caches: what was there, and all that it
    brought before they were full. It finds (there - own) / (1 - passed) of what is left to it. What counts is
    that share half way through the part; until then everyone brings what it does not find.

    Args:
        there: What caches hold now.
        most: What they can hold, at most 1.
        reader: What it has passed, and how much of that caches hold.
        others: The same of each other reader.
        part: The part of its pass that comes next.

    >>> round(found_together(0.75, 1.0, (0.5, 0.5), [(0.5, 0.5)], 0.02), 3)  # what the other has read
    0.51
    """

    def finds(held: float, passed: float, own: float) -> float:
        return min(1.0, max(0.0, (held - own) / (1.0 - passed))) if passed < 1.0 else 1.0

    passed, own = reader
    half = min(part, 1.0 - passed) / 2
    brought = half * sum(1.0 - finds(there, *each) for each in (reader, *others))
    kept = half if there < most else half * finds(there, passed, own)
    return finds(min(most, there + brought), passed + half, own + kept)


def throughput(most: float, bandwidth: float, hits: float) -> float:
    """Samples a second of a job that can use ``most`` and reads what it does not find at ``bandwidth``.

    min(f, b / (1 - h)), reading and computing at once (SiloD, Zhao et al., EuroSys 2023).

    >>> throughput(1000.0, 300.0, 0.5), throughput(1000.0, 300.0, 0.8)
    (600.0, 1000.0)
    """
    return most if hits >= 1 else min(most, bandwidth / (1 - hits))


@dataclass(slots=True)
class NodeCaches:
    """What the nodes' caches hold of data sets, whichever job read them.

    The nodes of a job hold a data set together, each another part as large. What different passes brought may
    be the same or not: such shares are taken as random and independent, as the orders are in which they read.
    """

    parts: dict[str, dict[int, dict[int, float]]] = field(default_factory=dict)
    """By data set and node: the share of the data set that each pass, by its number, has there."""
    _passes: Iterator[int] = field(default_factory=count)

    def new_pass(self) -> int:
        """A number for a pass that fills caches."""
        return next(self._passes)

    def held(self, data_set: str, nodes: Iterable[int]) -> float:
        """Share of a data set that the caches of some nodes hold together.

        >>> caches = NodeCaches()
        >>> caches.fill("images", [0, 1], 1.0, caches.new_pass())
        >>> caches.held("images", [0, 1]), caches.held("images", [1, 2])
        (1.0, 0.5)
        """
        by_pass: dict[int, float] = {}
        of_nodes = self.parts.get(data_set, {})
        for node in nodes:
            for number, share in of_nodes.get(node, {}).items():
                by_pass[number] = by_pass.get(number, 0.0) + share
        return 1.0 - math.prod(1.0 - min(share, 1.0) for share in by_pass.values())

    def fill(self, data_set: str, nodes: Sequence[int], share: float, number: int) -> None:
        """A pass has read so much of a data set that some nodes hold now, evenly spread over them."""
        of_nodes, each = self.parts.setdefault(data_set, {}), share / len(nodes)
        for node in nodes:
            of_nodes.setdefault(node, {})[number] = each

    def settle(self, data_set: str, nodes: Sequence[int], share: float, number: int) -> None:
        """A pass is over, and has brought some nodes to hold so much, with what they held before.

        A node where another pass has more keeps that.
        """
        of_nodes, each = self.parts.setdefault(data_set, {}), share / len(nodes)
        for node in nodes:
            most, of = max(
                ((held, other) for other, held in of_nodes.get(node, {}).items()), default=(0.0, 0)
            )
            of_nodes[node] = {number: each} if each >= most else {of: most}

    def empty(self, node: int) -> None:
        """A node holds nothing any more."""
        for of_nodes in self.parts.values():
            of_nodes.pop(node, None)


@dataclass(slots=True)
class Readers(Generic[Who]):
    """Who reads which data set on which nodes."""

    _on: dict[tuple[str, int], dict[Who, None]] = field(default_factory=dict)

    def add(self, who: Who, data_set: str, nodes: Iterable[int]) -> None:
        """Somebody begins to read."""
        for node in nodes:
            self._on.setdefault((data_set, node), {})[who] = None

    def remove(self, who: Who, data_set: str, nodes: Iterable[int]) -> None:
        """Somebody reads no more, if it did."""
        for node in nodes:
            self._on.get((data_set, node), {}).pop(who, None)

    def beside(self, who: Who, data_set: str, nodes: Iterable[int]) -> dict[Who, int]:
        """Others who read the same on some of the nodes, and on how many of them.

        >>> readers = Readers[str]()
        >>> for who, nodes in {"gang": [0, 1], "one": [1], "far": [2]}.items():
        ...     readers.add(who, "images", nodes)
        >>> readers.beside("gang", "images", [0, 1])
        {'one': 1}
        """
        found: dict[Who, int] = {}
        for node in nodes:
            for other in self._on.get((data_set, node), ()):
                if other != who:
                    found[other] = found.get(other, 0) + 1
        return found


@lru_cache(maxsize=256)
def _fifo(c: float) -> float:
    """First in, first out, by the life of one item.

    Read at the place u of a pass and not found, it stays until c N other items were not found. Let F be the
    share of a pass's misses before a place: then it stays until F has grown by L = c / (1 - h), h being
    what is found. With a = L + F(u) - 1, if that is not negative, it is found for certain in the next
    floor(a) passes, and in the one after if it comes before the place theta where F is what is left of a.
    Where it is missed next gives the distribution of u, and so F again; both are found on a grid.
    """
    low, high = 0.0, 1.0
    for _ in range(40):
        h = (low + high) / 2
        if _found(c / (1 - h)) > h:
            low = h
        else:
            high = h
    return (low + high) / 2


def _found(life: float) -> float:
    """Share of reads that are found, where items stay for so many passes' misses."""
    edges = np.linspace(0.0, 1.0, GRID + 1)
    misses = np.full(GRID, 1.0 / GRID)
    found = 0.0
    for _ in range(200):
        before = np.concatenate([[0.0], np.cumsum(misses)])
        ahead = life + (before[:-1] + before[1:]) / 2 - 1
        whole = np.floor(np.maximum(ahead, 0.0))
        theta = np.where(ahead >= 0, np.interp(ahead - whole, before, edges), 0.0)
        # missed evenly in [theta, 1] of that pass, or, if found there, anywhere in the next
        first = np.minimum((theta * GRID).astype(np.int64), GRID - 1)
        of_each = np.bincount(first, misses * (1 - theta) / (GRID - first), GRID)
        following = np.cumsum(of_each) + float((misses * theta).sum()) / GRID
        following = following / float(following.sum())
        found = float((misses * (whole + theta)).sum())
        if float(np.abs(following - misses).sum()) < 1e-9:  # noqa: PLR2004 - steady
            break
        misses = following
    return found / (1 + found)
