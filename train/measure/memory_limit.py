"""A bound on the memory of this process, so that what does not fit is refused and nobody is killed for it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT_FREE = 0.1
"""Part of the free memory that is left to everybody else."""


@contextmanager
def free_memory_only() -> Iterator[None]:
    """Let allocations fail beyond what is free now; Linux would promise more, and kill when it is used."""
    if sys.platform != "linux":
        yield
        return
    import resource  # noqa: PLC0415 - not everywhere

    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = _own_bytes() + int(free_bytes() * (1 - KEPT_FREE))
    soft = most if before[0] == resource.RLIM_INFINITY else min(most, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def free_bytes() -> int:
    """Memory that can be had: of the machine, or of the container if that has less."""
    machine = _kilobytes(Path("/proc/meminfo"), "MemAvailable")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("utf-8").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text("utf-8").strip()
    except OSError:
        return machine
    return machine if limit == "max" else max(0, min(machine, int(limit) - int(used)))


def _own_bytes() -> int:
    return _kilobytes(Path("/proc/self/status"), "VmData")


def _kilobytes(file: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB", file.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise AssertionError(f"{file} has no {name}")
    return int(found[1]) * 1024
