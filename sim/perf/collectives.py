"""How long GPUs take to add up, gather or exchange what each of them holds, by size, number and link.

A collective sends its bytes over each GPU's link in rounds (nccl-tests, doc/PERFORMANCE.md; Thakur et al.
2005): a ring all-reduce of S bytes on n GPUs sends 2 (n - 1)/n S in 2 (n - 1) rounds, gather and scatter
half of that, an exchange (n - 1)/n S at once. Libraries do it by one of three protocols and take the
fastest: one for small messages, whose flags travel with the data and which reaches a fraction of the rate;
one for middling ones; one for bulk, at the full rate, whose rounds cost more. So small messages take
latency, large ones bytes over rate, and those between something that neither explains.

Across nodes there are three ways, and the fastest counts: one ring through all GPUs; scatter in each node,
a ring of each GPU with its like in the other nodes, gather in the node, piece by piece at once, so that the
slower link decides; and two binary trees of nodes (Sanders et al. 2009), whose rounds grow with the
logarithm.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from sim.errors import PlanError
from sim.parts import Part
from sim.perf.device import Quality

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]

Kind: TypeAlias = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Way: TypeAlias = Literal["ring", "hierarchical", "tree"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)
SHARPNESS: Final = 8.0
"""How sharply one protocol takes over from another."""
TOGETHER: Final = 4.0
"""How nearly the links inside and across nodes work at once: 1 one after the other, infinite at once."""
REFERENCE: Final = 8
"""GPUs for which a link's rate is stated."""


class CollectiveLink(Part):
    """What GPUs of one kind on one kind of link do in collectives; a fit to measured times."""

    name: str
    link: str = Field(description="NVLink of which generation, with NVLS or without, PCIe, or a fabric")
    source: str = Field(min_length=1, description="where measurements are from, and the command of the fit")
    rate: Positive = Field(description="bytes a second over the bus for large all-reduces of 8 GPUs")
    first_s: Positive = Field(description="latency before the first round")
    round_s: Positive = Field(description="latency of each round of small messages")
    small_rate: Positive = Field(description="share of the rate that the protocol for small messages reaches")
    middle_rate: Positive = Field(description="share of the rate that the middle protocol reaches")
    middle_s: Positive = Field(description="latency of the middle protocol beyond that of the small one")
    bulk_s: Positive = Field(description="the same of the protocol for bulk")
    bulk_round_s: Positive = Field(description="latency of each of its rounds")
    rate_by_gpus: float = Field(0.0, description="the rate goes with this power of the number of GPUs / 8")
    rates: dict[Kind, Positive] = Field({}, description="times the rate that a kind reaches; 1 left out")
    latencies: dict[Kind, Positive] = Field({}, description="times the latency that a kind has; 1 left out")
    spread: Positive = Field(description="standard deviation of the logarithm of a time left out")
    quality: tuple[Quality, ...] = ()

    def time_s(self, kind: Kind, message_bytes: ArrayLike, gpus: ArrayLike) -> Floats:
        """Seconds for messages on so many GPUs of this link; 0 on one GPU. Arrays go element by element.

        ``message_bytes`` is the whole array: what each holds for an all-reduce or an exchange, what all have
        together after a gather or before a scatter.
        """
        size, n = np.asarray(message_bytes, dtype=np.float64), np.asarray(gpus, dtype=np.float64)
        if (size < 0).any() or (n < 1).any():
            raise PlanError("a collective needs a size of 0 bytes or more and at least one GPU")
        alone = n <= 1
        n = np.where(alone, 2.0, n)
        rate = self.rate * (n / REFERENCE) ** self.rate_by_gpus * self.rates.get(kind, 1.0)
        sending_s = sent_bytes(kind, size, n) / rate
        found = by_protocol(self, sending_s, rounds(kind, n), self.latencies.get(kind, 1.0))
        return np.where(alone, 0.0, found)

    def bus_rate(self, kind: Kind, message_bytes: ArrayLike, gpus: ArrayLike) -> Floats:
        """Bytes a second over each link while it lasts: what nccl-tests calls busbw."""
        sent = sent_bytes(kind, np.asarray(message_bytes, np.float64), np.asarray(gpus, np.float64))
        return sent / self.time_s(kind, message_bytes, gpus)


TYPICAL: Final = CollectiveLink(
    name="typical", link="NVLink", source="medians of the links of the catalog, sim/catalog/links",
    rate=4e11, first_s=6.8e-6, round_s=0.96e-6, small_rate=0.3, middle_rate=0.57, middle_s=2.9e-6,
    bulk_s=16e-6, bulk_round_s=5e-6, spread=0.1,
)  # fmt: skip
"""What links between GPUs have in common, for models that know only a rate."""


def by_protocol(
    link: CollectiveLink, sending_s: Floats, count: Floats, latency: Floats | float = 1.0
) -> Floats:
    """Seconds by the fastest protocol, for what takes so long at full rate, in so many rounds."""
    small = link.first_s + link.round_s * count
    ways = (
        small * latency + sending_s / link.small_rate,
        (small + link.middle_s) * latency + sending_s / link.middle_rate,
        (link.first_s + link.bulk_s + link.bulk_round_s * count) * latency + sending_s,
    )
    best = np.minimum(np.minimum(ways[0], ways[1]), ways[2])
    crowd = sum((best / way) ** SHARPNESS for way in ways)
    return np.asarray(best * crowd ** (-1 / SHARPNESS))


def sent_bytes(kind: Kind, message_bytes: Floats, gpus: Floats) -> Floats:
    """Bytes that each GPU sends at least, and receives: the bandwidth bound.

    >>> float(sent_bytes("all_reduce", np.array(8e9), np.array(8.0)))
    14000000000.0
    """
    if kind == "broadcast":
        return message_bytes * np.where(gpus > 1, 1.0, 0.0)
    share = (gpus - 1) / gpus
    return message_bytes * (2 * share if kind == "all_reduce" else share)


def rounds(kind: Kind, gpus: Floats) -> Floats:
    """Messages that wait for one another in a ring, or in an exchange of all with all at once."""
    if kind == "all_to_all":
        return np.ones_like(gpus)
    return 2 * (gpus - 1) if kind == "all_reduce" else gpus - 1


def across_nodes(
    kind: Kind, message_bytes: ArrayLike, gpus: int, per_node: int, near: CollectiveLink, far: CollectiveLink
) -> dict[Way, Floats]:
    """Seconds of each way that a collective over several nodes can go, ``per_node`` of its GPUs in each.

    ``near`` joins the GPUs of a node and ``far`` is each GPU's own way to other nodes. Raises PlanError where
    the GPUs do not fill their nodes evenly.
    """
    if gpus % per_node:
        raise PlanError(f"{gpus} GPUs do not fill nodes of {per_node}")
    nodes = gpus // per_node
    size = np.asarray(message_bytes, dtype=np.float64)
    if nodes == 1:
        return {"ring": near.time_s(kind, size, gpus)}
    every = np.asarray(float(gpus))
    found: dict[Way, Floats] = {"hierarchical": _hierarchical(kind, size, nodes, per_node, near, far)}
    if kind == "all_to_all":
        return found
    none = np.zeros_like(size)
    count = rounds(kind, every)
    latency_s = by_protocol(near, none, count) + by_protocol(far, none, count / per_node)
    found["ring"] = latency_s + _sending(sent_bytes(kind, size, every), per_node, near, far)
    if kind in ("all_reduce", "broadcast"):
        passes = 2.0 if kind == "all_reduce" else 1.0
        hops, chain = np.asarray(passes * math.log2(nodes)), passes * np.asarray(float(per_node - 1))
        latency_s = by_protocol(far, none, hops) + by_protocol(near, none, chain)
        found["tree"] = latency_s + _sending(passes * size, per_node, near, far)
    return found


def _sending(sent: Floats, per_node: int, near: CollectiveLink, far: CollectiveLink) -> Floats:
    """Seconds for bytes that go over each GPU's link and, shared by all its cards, out of each node."""
    inside = sent / (near.rate * (per_node / REFERENCE) ** near.rate_by_gpus)
    return _together(inside, sent / (far.rate * per_node))


def _together(inside: Floats, outside: Floats) -> Floats:
    return np.asarray((inside**TOGETHER + outside**TOGETHER) ** (1 / TOGETHER))


def _hierarchical(
    kind: Kind, size: Floats, nodes: int, per_node: int, near: CollectiveLink, far: CollectiveLink
) -> Floats:
    """Inside each node, each GPU with its like, inside again: latencies add up, the slower bytes count."""
    if kind == "all_to_all":
        inside = near.time_s(kind, size / nodes, per_node)
        outside = far.time_s(kind, size, nodes)
    else:
        inside = near.time_s(kind, size, per_node)
        outside = far.time_s(kind, size / per_node, nodes)
    inside_s, outside_s = (
        near.time_s(kind, np.zeros_like(size), per_node), far.time_s(kind, np.zeros_like(size), nodes)
    )  # fmt: skip
    return inside_s + outside_s + _together(inside - inside_s, outside - outside_s)


def fastest_s(
    kind: Kind, message_bytes: ArrayLike, gpus: int, per_node: int, near: CollectiveLink, far: CollectiveLink
) -> Floats:
    """Seconds of the fastest way, as libraries choose it."""
    ways = list(across_nodes(kind, message_bytes, gpus, per_node, near, far).values())
    return np.asarray(np.minimum.reduce(ways))
