"""Several processes that work together, one for each device, as torchrun starts them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from sim.profile import Row
    from train.measure.device import Kind


class ProcessesFailedError(RuntimeError):
    """A process of the group ended before its work did."""


@dataclass(frozen=True, slots=True)
class Group:
    """So many processes on the devices of this kind; on a CPU each has so many threads."""

    kind: Kind
    size: int
    threads: int | None = None

    @property
    def backend(self) -> str:
        """What carries their collectives."""
        return "nccl" if self.kind == "cuda" else "gloo"

    def rows(self, work: Callable[..., Iterable[Row]], *arguments: Any) -> Iterator[Row]:  # noqa: ANN401 - as `work` wants
        """The rows that ``work(rank, *arguments)`` yields in the first process, as they come.

        Raises ProcessesFailedError if a process ends early; the others are ended then, as they are when
        nobody wants more rows.
        """
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        with tempfile.TemporaryDirectory(prefix="dcplan-group-") as folder:
            store = str(Path(folder) / "store")
            processes = [
                context.Process(
                    target=_member, args=(self, rank, store, sender, work, arguments), daemon=True
                )
                for rank in range(self.size)
            ]
            try:
                for process in processes:
                    process.start()
                sender.close()
                yield from _received(receiver, processes)
            finally:
                for process in processes:
                    process.kill()
                    process.join()


def _received(receiver: Connection, processes: Sequence[BaseProcess]) -> Iterator[Row]:
    """What the first process sends, until it says that it is done."""
    running = list(processes)
    while True:
        ready = wait([receiver, *(process.sentinel for process in running)])
        if receiver in ready and receiver.poll():
            message = _message(receiver)
            if message is None:
                return
            yield message
            continue
        for process in [process for process in running if process.sentinel in ready]:
            process.join()
            running.remove(process)
            if process.exitcode != 0 or not running:
                raise ProcessesFailedError(f"a process ended early, with exit code {process.exitcode}")


def _message(receiver: Connection) -> Row | None:
    """A row, or None at the end; what went wrong is raised here."""
    try:
        message: Row | str | None = receiver.recv()
    except EOFError:
        message = "the first process ended early"
    if isinstance(message, str):
        raise ProcessesFailedError(message)
    return message


def _member(
    group: Group,
    rank: int,
    store: str,
    sender: Connection,
    work: Callable[..., Iterable[Row]],
    arguments: Any,  # noqa: ANN401
) -> None:
    """The life of one process."""
    import torch  # noqa: PLC0415 - only in the new process
    from torch import distributed  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if group.threads is not None:
        torch.set_num_threads(group.threads)
    if group.kind == "cuda":
        torch.cuda.set_device(rank)
    elif sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(group.backend, f"file://{store}", rank=rank, world_size=group.size)
    try:
        for row in work(rank, *arguments):
            if rank == 0:
                sender.send(row)
    except (RuntimeError, ValueError) as error:
        sender.send(str(error).strip().splitlines()[0])
    else:
        if rank == 0:
            sender.send(None)
        distributed.barrier()
        distributed.destroy_process_group()


def agreed(number: float, kind: Kind) -> float:
    """The number of the first process, in all of them: all must do as many repetitions."""
    import torch  # noqa: PLC0415 - as above
    from torch import distributed  # noqa: PLC0415

    told = torch.tensor([number], dtype=torch.float64, device=kind)
    distributed.broadcast(told, 0)
    return float(told.item())


def smallest(number: float, kind: Kind) -> float:
    """The smallest number of all processes."""
    import torch  # noqa: PLC0415 - as above
    from torch import distributed  # noqa: PLC0415

    told = torch.tensor([number], dtype=torch.float64, device=kind)
    distributed.all_reduce(told, distributed.ReduceOp.MIN)
    return float(told.item())
