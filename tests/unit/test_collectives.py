"""Collectives of GPUs: bytes and rounds as the algorithms have them, protocols by size, ways across nodes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.catalog.links import collective_link, fabric_link, link_names
from sim.errors import PlanError
from sim.perf.collectives import KINDS, CollectiveLink, Kind, across_nodes, fastest_s, rounds, sent_bytes

RATE = 1e11
ONE_PROTOCOL = CollectiveLink(
    name="plain", link="made up", source="made up", rate=RATE, first_s=1e-9, round_s=1e-6,
    small_rate=1.0, middle_rate=1.0, middle_s=1e4, bulk_s=1e4, bulk_round_s=1.0, spread=0.1,
)  # fmt: skip
A100 = collective_link("a100-sxm4-80gb")
SIZES = st.floats(1e2, 1e10)
NUMBERS = st.integers(2, 64)


def test_a_gigabyte_over_eight_gigabits_a_second_takes_a_second() -> None:
    slow = ONE_PROTOCOL.model_copy(update={"rate": 1e9, "round_s": 1e-12})
    # broadcast: each byte crosses each link once
    assert slow.time_s("broadcast", 1e9, 8) == pytest.approx(1.0, rel=1e-6)
    # ring all-reduce: 2 (n - 1) / n times
    assert slow.time_s("all_reduce", 1e9, 8) == pytest.approx(1.75, rel=1e-6)
    assert slow.time_s("all_gather", 1e9, 8) == pytest.approx(0.875, rel=1e-6)
    assert slow.time_s("all_to_all", 1e9, 4) == pytest.approx(0.75, rel=1e-6)


def test_latency_is_that_of_the_rounds_of_a_ring() -> None:
    assert ONE_PROTOCOL.time_s("all_reduce", 0.0, 8) == pytest.approx(14e-6, rel=1e-3)
    assert ONE_PROTOCOL.time_s("reduce_scatter", 0.0, 8) == pytest.approx(7e-6, rel=1e-3)
    assert ONE_PROTOCOL.time_s("all_to_all", 0.0, 8) == pytest.approx(1e-6, rel=1e-2)
    assert ONE_PROTOCOL.time_s("all_reduce", 1e9, 1) == 0.0


def test_an_all_reduce_is_a_scatter_and_a_gather_in_bytes_and_rounds() -> None:
    size, gpus = np.array([1e6, 1e9]), np.array([4.0, 8.0])
    halves = ("reduce_scatter", "all_gather")
    assert sent_bytes("all_reduce", size, gpus) == pytest.approx(
        sum(sent_bytes(k, size, gpus) for k in halves)
    )
    assert rounds("all_reduce", gpus) == pytest.approx(sum(rounds(kind, gpus) for kind in halves))


def test_between_latency_and_rate_there_is_a_region_that_neither_explains() -> None:
    """nccl-tests on eight A100: about 35 us for the smallest, 235 GB/s for the largest, 90 GB/s at 8 MB."""
    eight = collective_link("a100-sxm4-40gb")
    assert eight.time_s("all_reduce", 1e3, 8) == pytest.approx(35e-6, rel=0.15)
    assert eight.bus_rate("all_reduce", 8 << 30, 8) == pytest.approx(235e9, rel=0.03)
    middle = float(eight.bus_rate("all_reduce", 8 << 20, 8))
    assert middle == pytest.approx(90e9, rel=0.1)
    straight = 1.75 * (8 << 20) / (35e-6 + 1.75 * (8 << 20) / 235e9)
    assert middle < 0.8 * straight


def test_switches_that_add_up_exceed_the_ring() -> None:
    """H100 with NVLS reaches 480 GB/s where the wire has 450 each way (nccl-tests, issue 212)."""
    assert collective_link("h100-sxm5-80gb").bus_rate("all_reduce", 8e9, 8) < 420e9
    from sim.catalog import links  # noqa: PLC0415

    nvls = links.read("h100-sxm5-80gb-nvls")
    assert nvls.bus_rate("all_reduce", 8 << 30, 8) == pytest.approx(480e9, rel=0.03)


@given(kind=st.sampled_from(KINDS), size=SIZES, more=st.floats(1.0, 100.0), gpus=NUMBERS)
def test_more_bytes_never_take_less_and_a_faster_link_never_more(
    kind: Kind, size: float, more: float, gpus: int
) -> None:
    faster = A100.model_copy(update={"rate": A100.rate * more})
    assert A100.time_s(kind, size * more, gpus) >= A100.time_s(kind, size, gpus) * (1 - 1e-12)
    assert faster.time_s(kind, size, gpus) <= A100.time_s(kind, size, gpus) * (1 + 1e-12)


@given(kind=st.sampled_from(KINDS), size=SIZES, gpus=NUMBERS)
def test_nothing_is_faster_than_its_bytes_at_the_rate(kind: Kind, size: float, gpus: int) -> None:
    rate = A100.rate * (gpus / 8) ** A100.rate_by_gpus * A100.rates.get(kind, 1.0)
    bound = float(sent_bytes(kind, np.array(size), np.array(float(gpus)))) / rate
    assert A100.time_s(kind, size, gpus) >= 0.8 * bound


@given(kind=st.sampled_from(KINDS), size=SIZES, nodes=st.integers(2, 32))
def test_the_fastest_way_across_nodes_is_one_of_them_and_never_beats_its_network(
    kind: Kind, size: float, nodes: int
) -> None:
    far = fabric_link(50e9)
    ways = across_nodes(kind, size, nodes * 8, 8, A100, far)
    fastest = float(fastest_s(kind, size, nodes * 8, 8, A100, far))
    assert fastest == min(float(way) for way in ways.values())
    share = {"all_reduce": 2.0, "broadcast": 1.0}.get(kind, 1.0) * (nodes - 1) / nodes
    out_of_a_node = share * size * (8 if kind == "all_to_all" else 1)
    assert fastest >= 0.8 * out_of_a_node / (8 * far.rate)


def test_one_node_is_a_ring_of_its_own_and_many_nodes_prefer_trees_for_small_messages() -> None:
    far = fabric_link(50e9)
    assert set(across_nodes("all_reduce", 1e6, 8, 8, A100, far)) == {"ring"}
    small = across_nodes("all_reduce", 1e4, 8 * 64, 8, A100, far)
    assert min(small, key=lambda way: float(small[way])) == "tree"
    large = across_nodes("all_reduce", 1e10, 8 * 64, 8, A100, far)
    assert float(large["hierarchical"]) < float(large["tree"])


def test_two_nodes_of_p5_are_about_as_fast_as_published() -> None:
    """nccl-tests on 16 H100 with 50 GB/s each: about 70 us for small messages, 487 GB/s for 16 GB."""
    from sim.catalog import links  # noqa: PLC0415

    near = links.read("h100-sxm5-80gb-nvls")
    small = float(fastest_s("all_reduce", 1e3, 16, 8, near, fabric_link(50e9)))
    assert small == pytest.approx(70e-6, rel=0.35)
    large = float(fastest_s("all_reduce", 16 << 30, 16, 8, near, fabric_link(50e9)))
    assert 2 * 15 / 16 * (16 << 30) / large == pytest.approx(487e9, rel=0.2)


def test_a_gpu_without_measured_collectives_is_judged_by_its_data_sheet_and_says_so() -> None:
    v100 = collective_link("v100-sxm2-32gb")
    assert v100.source.startswith("not measured")
    assert v100.rate < A100.rate
    assert v100.spread > A100.spread
    assert "l40s" in collective_link("rtx-4090").source
    assert "a100-sxm4-80gb" in link_names()


def test_impossible_collectives_are_refused() -> None:
    with pytest.raises(PlanError, match="0 bytes or more"):
        A100.time_s("all_reduce", -1.0, 8)
    with pytest.raises(PlanError, match="do not fill nodes of 8"):
        across_nodes("all_reduce", 1e6, 12, 8, A100, fabric_link(50e9))
    with pytest.raises(PlanError, match="h100"):
        collective_link("h1000")
