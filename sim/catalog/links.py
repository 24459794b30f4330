"""How GPUs of the catalog fare in collectives: links fitted to measured times, or judged by data sheets."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from io import StringIO
from typing import Final

from ruamel.yaml import YAML

from sim import catalog
from sim.perf.collectives import CollectiveLink

PCIE_LIKE: Final = "l40s"
NVLINK_LIKE: Final = "a100-sxm4-80gb"
UNMEASURED: Final = 2.0
"""Times the spread of a measured link that one has which only its data sheet tells of."""
FABRIC_SHARE: Final = 0.92
"""Of a network card's rate, what large messages reach: 92 to 96 % (perftest on ConnectX-6 and 7)."""


def link_names() -> tuple[str, ...]:
    """GPUs whose collectives were measured, with ``-nvls`` where the switches added up; reads no file."""
    folder = files(__package__) / "links"
    return tuple(
        sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    )


@cache
def collective_link(gpu: str) -> CollectiveLink:
    """The link between GPUs of one scale-up domain, or of one node where there is none.

    Where no collectives of that GPU were measured, the link most like it stands in, at the rate that the
    data sheets have to one another, with twice the spread, and its source says so. Raises PlanError for an
    unknown GPU.
    """
    known = catalog.gpu(gpu)
    if known.name in link_names():
        return read(known.name)
    like = read(NVLINK_LIKE if known.scale_up_bandwidth else PCIE_LIKE)
    factor = 1.0
    if known.scale_up_bandwidth:
        most_alike = min(
            (name for name in link_names() if name in catalog.names("gpu") and _scale_up(name)),
            key=lambda name: abs(math.log(_scale_up(name) / (known.scale_up_bandwidth or 1.0))),
        )
        like = read(most_alike)
        factor = known.scale_up_bandwidth / _scale_up(most_alike)
    return like.model_copy(
        update={
            "name": known.name,
            "rate": like.rate * factor,
            "spread": like.spread * UNMEASURED,
            "source": f"not measured: {like.name}, at {factor:.3g} times its rate, as their data sheets say",
            "quality": (),
        }
    )


def fabric_link(bytes_per_s: float) -> CollectiveLink:
    """A GPU's way to other nodes at a card's rate.

    Latencies are those that NCCL itself reckons with for a network (src/graph/tuning.cc; recalled): 5 us a
    hop for small messages, 14 us in bulk; with two nodes of p5 about 70 us in all.
    """
    return CollectiveLink(
        name="fabric", link="network card",
        source="NCCL's own constants for networks (src/graph/tuning.cc), recalled",
        rate=bytes_per_s * FABRIC_SHARE, first_s=30e-6, round_s=5e-6, small_rate=0.25, middle_rate=0.6,
        middle_s=5e-6, bulk_s=15e-6, bulk_round_s=14e-6, spread=0.4,
    )  # fmt: skip


def text(link: CollectiveLink) -> str:
    """A link as YAML."""
    yaml = YAML()
    yaml.width = 110
    out = StringIO()
    yaml.dump(link.model_dump(mode="json", exclude_defaults=True), out)
    return out.getvalue()


def _scale_up(gpu: str) -> float:
    return catalog.gpu(gpu).scale_up_bandwidth or 0.0


@cache
def read(name: str) -> CollectiveLink:
    """The link of a file of the catalog."""
    written = YAML(typ="safe", pure=True).load(
        (files(__package__) / "links" / f"{name}.yaml").read_text("utf-8")
    )
    return CollectiveLink.model_validate(written)
