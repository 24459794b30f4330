"""Collectives as activities: what they take alone, side by side, and across a thin spine."""

import pytest

from sim.flows import Fluid
from sim.network import Fabric
from sim.topology import Network, Pattern, Site

GPUS = 8
CARD = 5e10
MESSAGE = 1e9


def ends_s(pattern: Pattern, jobs: int, **network: object) -> list[float]:
    """When collectives of 8 GPUs each, four to a leaf, are through that begin together."""
    fabric = Fabric(Fluid())
    sites = [Site(f"gpu {n}", n // 4, CARD) for n in range(GPUS)]
    fabric.lay(Network.model_validate(network), sites)
    for _ in range(jobs):
        usages: dict[int, float] = {}
        fabric.between(range(GPUS), 1.0, pattern, usages)
        fabric.fluid.add(2 * (GPUS - 1) / GPUS * MESSAGE, usages, 0.0)
    found = []
    while (end_s := fabric.fluid.next_end_s()) < float("inf"):
        fabric.fluid.check()
        found += [end_s] * len(fabric.fluid.end_due(end_s))
    return found


def test_an_all_reduce_takes_its_bytes_over_the_card() -> None:
    """A ring sends 2 (n - 1)/n of the message over each card: 1.75 GB at 50 GB/s."""
    assert ends_s("ring", 1, kind="single_switch") == [pytest.approx(0.035, rel=1e-9)]


def test_two_at_once_take_twice_as_long() -> None:
    assert ends_s("ring", 2, kind="single_switch") == pytest.approx([0.07, 0.07], rel=1e-9)


@pytest.mark.parametrize(
    ("pattern", "oversubscription", "slower"),
    [("ring", 1, 1.0), ("ring", 4, 1.0), ("ring", 8, 2.0), ("all_to_all", 1, 1.0), ("all_to_all", 4, 16 / 7)],
)
def test_a_thin_spine_slows_what_crosses_it(pattern: Pattern, oversubscription: float, slower: float) -> None:
    """A ring over two leaves crosses once each way; of an exchange 4 of 7 parts of each of four cards do."""
    found = ends_s(pattern, 1, nodes_per_leaf=4, oversubscription=oversubscription)
    assert found == [pytest.approx(0.035 * slower, rel=1e-9)]
