"""What the catalog knows of a GPU and of a node, each number with where it is from."""

from itertools import pairwise
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from sim.parts import Bytes, BytesPerSecond, FlopPerSecond, Part, Watts

Evidence = Literal["read", "checked", "recalled", "derived"]
MOST_BY_HALVING: Final = 3.2


class Source(Part):
    """Where a number is from, and how sure it is.

    read: the source was read and agrees. checked: recalled from the source, and the page in ``checked`` says
    the same. recalled: from memory of the source, seen nowhere since. derived: computed as the source says.
    """

    source: str = Field(min_length=1)
    evidence: Evidence
    checked: str = ""


class Entry(Part):
    """Something that the catalog describes; ``sources`` has one entry for each of its numbers."""

    name: str
    notes: str = ""
    sources: dict[str, Source]

    @model_validator(mode="after")
    def _every_number_has_a_source(self) -> Self:
        numbers = {field for field, value in self if isinstance(value, int | float)}
        if numbers != set(self.sources):
            raise ValueError(f"{self.name}: numbers {sorted(numbers)} but sources {sorted(self.sources)}")
        return self


class GpuType(Entry):
    """One GPU as sold. Compute rates are peaks without sparsity, on tensor cores where it has them."""

    maker: str
    memory: Bytes
    memory_bandwidth: BytesPerSecond
    fp64: FlopPerSecond | None = None
    fp32: FlopPerSecond
    tf32: FlopPerSecond | None = None
    fp16: FlopPerSecond
    bf16: FlopPerSecond | None = None
    fp8: FlopPerSecond | None = None
    fp4: FlopPerSecond | None = None
    int8: FlopPerSecond | None = Field(None, description="integer operations a second")
    scale_up_link: str | None = Field(None, description="how GPUs of one scale-up domain are joined")
    scale_up_bandwidth: BytesPerSecond | None = Field(None, description="of one GPU, each direction")
    host_link: str
    power: Watts = Field(description="rated maximum; real boards exceed it for moments")
    idle_power: Watts | None = None

    @model_validator(mode="after")
    def _peaks_are_dense(self) -> Self:
        """Half the width doubles the peak of a format, FP4 at most triples it; sparsity doubles it again."""
        widths = {name: getattr(self, name) for name in ("tf32", "fp16", "bf16", "fp8", "fp4")}
        known = [(name, rate) for name, rate in widths.items() if rate]
        for (wide, slow), (narrow, fast) in pairwise(known):
            if fast > MOST_BY_HALVING * slow:
                times = f"{fast / slow:.3g} times"
                raise ValueError(f"{narrow} is {times} {wide}, as if it were with sparsity; give dense peaks")
        return self


class StoreType(Entry):
    """One storage appliance, server or drive: what it gives to all, to one node, to one connection."""

    place: Literal["network", "node"] = Field(
        "network", description="behind the network, or a drive in each node"
    )
    read: BytesPerSecond = Field(description="bytes read a second")
    write: BytesPerSecond = Field(description="bytes written a second, replicas counted apart")
    per_node: BytesPerSecond | None = Field(None, description="the most that one node gets")
    per_connection: BytesPerSecond | None = Field(None, description="the most that one connection gets")
    requests: float | None = Field(None, description="requests served a second")
    replicas: int | None = Field(None, description="how often each byte is written")


class NodeType(Entry):
    """One server as sold: what a scheduler sees as a node."""

    gpu: str = Field(description="the catalog's name of its GPUs")
    gpus: int
    scale_up_gpus: int = Field(description="GPUs that reach one another over the scale-up link")
    nodes_per_rack: int | None = Field(None, description="where the maker fixes it")
    cpus: float | None = Field(None, description="hardware threads, which schedulers count as CPUs")
    memory: Bytes | None = Field(None, description="host memory")
    network: BytesPerSecond | None = Field(None, description="all compute NICs together, each direction")
    power: Watts | None = Field(None, description="rated maximum of the whole node")
