"""The tenant with the smallest share first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sim.policies.order import Key, Order

if TYPE_CHECKING:
    from sim.job import Job
    from sim.tenancy import Account


class FairShare(Order):
    """Serve next the tenant that holds the least for its weight; submission order inside a tenant.

    A tenant's share is the largest, over the named resources, of what it holds over what the partition has,
    divided by its weight. With `gpu` alone this is weighted fair sharing of GPUs; with `cpu` and `memory` it
    is dominant resource fairness (Ghodsi et al., NSDI 2011).
    """

    kind: Literal["fair_share"] = "fair_share"
    by_tenant: ClassVar[bool] = True
    resources: tuple[Literal["gpu", "cpu", "memory"], ...] = Field(
        ("gpu",), min_length=1, description="resources whose largest share ranks a tenant"
    )

    def key(self, job: Job) -> Key:
        """Equal for all jobs of a tenant: the row in the arrivals table decides."""
        del job
        return 0.0

    def share(self, account: Account, capacity: tuple[float, float, float]) -> float:
        """Dominant share over weight."""
        held = {"gpu": account.gpus, "cpu": account.cpus, "memory": account.memory_bytes}
        total = dict(zip(held, capacity, strict=True))
        return max(held[resource] / total[resource] for resource in self.resources) / account.weight
