"""What a tenant holds and what it may hold: usage, weight, quota, borrowing."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Account:
    """A tenant's holdings in one partition.

    `quota_gpus` are guaranteed: they are taken back from borrowers where reclaim is on. `limit_gpus` is the
    most that the tenant may hold (its quota and what it may borrow). Both are infinite for a tenant without a
    quota, who then has nothing to reclaim and nothing to give back.
    """

    tenant: str
    weight: float = 1.0
    quota_gpus: float = math.inf
    limit_gpus: float = math.inf
    gpus: int = 0
    cpus: float = 0.0
    memory_bytes: float = 0.0
    share: float = 0.0
    """Place among tenants where the order ranks them; kept by the partition."""

    @property
    def borrows(self) -> bool:
        """Whether it holds more than its quota."""
        return self.gpus > self.quota_gpus

    def allows(self, gpus: int) -> bool:
        """Whether the tenant may hold so many more GPUs."""
        return self.gpus + gpus <= self.limit_gpus
