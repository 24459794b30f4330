"""Reading from storage: in order and at random, first from the disk, then from the page cache.

The first read follows a request to the system to forget the file. A file system in memory, or one that does
not listen, shows as a first read as fast as the second.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from typing import Literal

from sim.profile import StorageRow
from train.measure.job import passes

CAN_FORGET = hasattr(os, "posix_fadvise")
SEQUENTIAL_BLOCK, RANDOM_BLOCK = 1 << 20, 128 << 10
"""Bytes of a read in order, and of one at random: about an image of a data set."""
MOST_RANDOM_READS = 512


@dataclass(frozen=True, slots=True)
class Storage:
    """A file of this size in this folder."""

    folder: Path
    size_bytes: int
    pattern: Literal["sequential", "random"]
    seed: int = 0

    def measure(self, budget_s: float, *, first: bool) -> Iterator[StorageRow]:  # noqa: ARG002 - as long as it takes
        """Two rows: first read and second read."""
        try:
            with NamedTemporaryFile(dir=self.folder, prefix=".dcplan-storage-") as file:
                fill(file.fileno(), self.size_bytes)
                readings = [self._read(file.fileno(), again=again) for again in (False, True)]
        except OSError as error:
            reason = f"{self.folder}: {error.strerror}"
            yield from (self._row(again=again, reason=reason) for again in (False, True))
            return
        for again, latencies_s in zip((False, True), readings, strict=True):
            if again or CAN_FORGET:
                yield self._row(again=again, latencies_s=latencies_s)
            else:
                yield self._row(again=again, reason="this system has no way to make it forget a file")

    def _row(self, *, again: bool, latencies_s: list[float] | None = None, reason: str = "") -> StorageRow:
        total_s = (sum(latencies_s),) if latencies_s else ()
        return StorageRow(
            pattern=self.pattern,
            read="second" if again else "first",
            size_bytes=self._block * len(self._offsets()),
            block_bytes=self._block,
            time_s=total_s,
            latency_s=(median(latencies_s),) if latencies_s else (),
            pass_index=passes(total_s),
            status="failed" if reason else "ok",
            reason=reason,
        )

    def _read(self, file: int, *, again: bool) -> list[float]:
        """Seconds of each block."""
        if CAN_FORGET:
            if not again:
                forget(file)
            advice = os.POSIX_FADV_RANDOM if self.pattern == "random" else os.POSIX_FADV_SEQUENTIAL
            os.posix_fadvise(file, 0, 0, advice)
        seconds = []
        for offset in self._offsets():
            start_s = time.perf_counter()
            os.pread(file, self._block, offset)
            seconds.append(time.perf_counter() - start_s)
        return seconds

    @property
    def _block(self) -> int:
        return RANDOM_BLOCK if self.pattern == "random" else SEQUENTIAL_BLOCK

    def _offsets(self) -> list[int]:
        offsets = list(range(0, self.size_bytes, self._block))
        if self.pattern == "random":
            random.Random(self.seed).shuffle(offsets)  # noqa: S311 - an order, not a secret
            offsets = offsets[:MOST_RANDOM_READS]
        return offsets


def fill(file: int, size_bytes: int) -> None:
    """Write bytes that do not compress, until they are on the disk."""
    block = os.urandom(1 << 20)
    for start in range(0, size_bytes, len(block)):
        os.pwrite(file, block[: size_bytes - start], start)
    os.fsync(file)


def forget(file: int) -> None:
    """Ask the system to drop what it keeps of a file in memory; what it holds must be on the disk already."""
    os.fsync(file)
    if CAN_FORGET:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
