"""The fingerprint of the machine that was measured: two profiles with the same one may be fitted together."""

import hashlib
from typing import Literal

from pydantic import Field, computed_field

from sim.profile.stored import Stored


class Machine(Stored):
    """Device, host and the versions that decide which kernels run; no name of a host, no user."""

    device: Literal["cpu", "cuda"]
    device_name: str
    devices: int = Field(ge=1, description="devices that processes could be given; 1 for a CPU")
    device_memory_bytes: float = Field(gt=0, description="of one device; for a CPU the memory of the host")
    compute_capability: str = ""
    driver: str = ""
    cpu_name: str
    cores: int = Field(ge=1, description="cores that the profiler was allowed to use")
    threads: int = Field(ge=1, description="threads of one process, where the row says nothing else")
    host_memory_bytes: float = Field(gt=0)
    system: str = Field(description="operating system and its version")
    libraries: dict[str, str] = Field(description="versions by name: python, torch, cuda, cudnn, nccl, ...")
    load_average: float = Field(
        ge=0, description="processes that wanted a core in the minute before the sweep"
    )

    @computed_field(description="hash of all that stays the same from one sweep to the next")  # type: ignore[prop-decorator]  # as in rows.py
    @property
    def fingerprint(self) -> str:
        """Twelve digits, equal for equal machines."""
        lasting = self.model_dump_json(exclude={"load_average", "fingerprint"})
        return hashlib.sha256(lasting.encode()).hexdigest()[:12]
