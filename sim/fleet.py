"""The hardware and who shares it: pools of equal nodes, and tenants with weights and quotas."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sim import catalog, units
from sim.errors import PlanError
from sim.parts import Bytes, Name, Part


class Pool(Part):
    """Equal nodes with equal GPUs. What the catalog knows of a node need not be written out."""

    name: Name = Field(description="how the report calls these nodes")
    node: str | None = Field(None, description="node type of the catalog; gives what is not written out")
    gpu: str | None = Field(None, description="GPU type of the catalog")
    gpus_per_node: int = Field(
        gt=0, le=1024, description="GPUs in each node; a node type of the catalog knows it"
    )
    nodes: int = Field(gt=0, le=1_000_000, description="number of nodes")
    nodes_per_rack: int = Field(4, gt=0, description="nodes that share a rack")
    scale_up_gpus: int = Field(
        gt=0,
        description="GPUs in one scale-up domain, joined by fast links; left out, those of one node",
        json_schema_extra={"x-default": "gpus_per_node"},
    )
    cpus_per_node: float | None = Field(
        None, gt=0, description="CPUs that jobs share in a node; left out, jobs are not limited by them"
    )
    memory_per_node: Bytes | None = Field(
        None, description="host memory that jobs share in a node; left out, jobs are not limited by it"
    )
    virtual_cluster: Name | None = Field(
        None, description="a hard partition: only its own tenants use these nodes"
    )
    price_per_gpu_hour: float | None = Field(None, ge=0, description="cost of one GPU for one hour")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_catalog(cls, written: Any) -> Any:  # noqa: ANN401 - whatever the user wrote
        """What the node type says, under what the user says; unknown names are refused by other checks."""
        if not isinstance(written, dict):
            return written
        filled = _node_fields(written.get("node")) | {k: v for k, v in written.items() if v is not None}
        width = filled.get("gpus_per_node")
        filled.setdefault("scale_up_gpus", width if isinstance(width, int) and width > 0 else 1)
        return filled

    @field_validator("node")
    @classmethod
    def _node_is_known(cls, name: str | None) -> str | None:
        return None if name is None else _known(catalog.node, name)

    @field_validator("gpu")
    @classmethod
    def _gpu_is_known(cls, name: str | None) -> str | None:
        return None if name is None else _known(catalog.gpu, name)

    @model_validator(mode="after")
    def _domains_are_whole(self) -> Self:
        small, large = sorted((self.scale_up_gpus, self.gpus_per_node))
        if large % small:
            raise ValueError(
                f"scale_up_gpus is {self.scale_up_gpus}, which neither divides "
                f"nor is a multiple of the {self.gpus_per_node} GPUs of a node"
            )
        return self

    @property
    def gpus(self) -> int:
        """GPUs of the whole pool."""
        return self.nodes * self.gpus_per_node


def _known(look_up: Any, name: str) -> str:  # noqa: ANN401 - catalog.gpu or catalog.node
    try:
        return str(look_up(name).name)
    except PlanError as error:
        raise ValueError(str(error)) from None


def _node_fields(name: object) -> dict[str, Any]:
    """What a node type of the catalog says about a pool, as a user would write it."""
    if not isinstance(name, str):
        return {}
    try:
        node = catalog.node(name)
    except PlanError:
        return {"gpus_per_node": 1}  # the name is refused by its own field; nothing else is missing
    fields = {
        "gpu": node.gpu,
        "gpus_per_node": node.gpus,
        "scale_up_gpus": node.scale_up_gpus,
        "nodes_per_rack": node.nodes_per_rack,
        "cpus_per_node": node.cpus,
        "memory_per_node": None if node.memory is None else units.format_si(node.memory, "byte"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def card_of(pool: Pool) -> float | None:
    """Bytes a second that the network cards of a node of the pool carry, by the catalog; None if unknown."""
    return None if pool.node is None else catalog.node(pool.node).network


class Fleet(Part):
    """All nodes, in pools of equal ones."""

    pools: tuple[Pool, ...] = Field(min_length=1, description="groups of equal nodes")

    @property
    def gpus(self) -> int:
        """GPUs of all pools."""
        return sum(pool.gpus for pool in self.pools)


class Tenant(Part):
    """A team that shares the fleet. Tenants that only a trace names need not be declared."""

    name: Name = Field(description="as jobs name it")
    weight: float = Field(
        1.0, gt=0, description="share of the fleet it should have, against the other tenants'"
    )
    quota: int | None = Field(
        None, ge=0, description="GPUs guaranteed; left out, there is no quota and no limit"
    )
    borrow: Annotated[int, Field(ge=0)] | Literal["unlimited"] = Field(
        0, description="GPUs it may hold beyond its quota while others leave them free"
    )
    virtual_cluster: Name | None = Field(
        None, description="where its jobs run; left out, the virtual cluster of its own name if there is one"
    )

    @model_validator(mode="after")
    def _borrowing_needs_a_quota(self) -> Self:
        if self.quota is None and self.borrow != 0:
            raise ValueError(f'tenant "{self.name}" has no quota to borrow beyond; give it a quota')
        return self
