"""What one step computes and moves, read off the shapes of its operators while it runs as a warm-up.

Nothing is run twice for it: the traced step is one that would have been thrown away.
"""

from __future__ import annotations

import time
import weakref
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from train import operators

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.profile import Phase


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no types
    """Counts operators, their floating-point operations and bytes, and the bytes of tensors alive at once.

    `held` are the tensors that are there already. Memory that an operator takes and gives back while it runs
    is not seen, nor what an allocator keeps for later.
    """

    def __init__(self, held: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.kernels = 0
        self.bytes_by_kind: Counter[str] = Counter()
        self.peak_bytes = 0
        self._alive: dict[int, int] = {}
        self._alive_bytes = 0
        self._in_phase: Counter[str] = Counter()
        for tensor in held:
            self._hold(tensor)

    def mark(self, phase: Phase) -> None:
        """A phase of the step has ended; what the optimiser moves is its own kind, whatever the operator."""
        if phase == "optimiser":
            self._in_phase = Counter({"optimiser": self._in_phase.total()})
        self.bytes_by_kind += self._in_phase
        self._in_phase = Counter()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's own signature, here and below
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run the operator, then count it."""
        result = func(*args, **(kwargs or {}))
        read, written = operators.tensors((args, kwargs)), operators.tensors(result)
        for tensor in written:
            self._hold(tensor)
        if (read or written) and not operators.is_view(func, read, written):
            self._count(func, args, kwargs or {}, result, [*read, *written])
        return result

    def _count(self, func: Any, args: Any, kwargs: Any, result: Any, moved: list[torch.Tensor]) -> None:  # noqa: ANN401
        self.kernels += 1
        self._in_phase[operators.kind(func, args)] += sum(tensor.nbytes for tensor in moved)
        counted = flop_registry.get(func.overloadpacket)
        if counted is not None:
            self.flops += counted(*args, **kwargs, out_val=result)

    def _hold(self, tensor: torch.Tensor) -> None:
        """Count the memory of a tensor until it is given back."""
        storage = tensor.untyped_storage()
        key = storage._cdata  # noqa: SLF001 - torch has no other name for it
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self._alive_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._alive_bytes)
        weakref.finalize(storage, self._release, key)

    def _release(self, key: int) -> None:
        self._alive_bytes -= self._alive.pop(key, 0)


class Clock(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no types
    """Times every operator of a step on a CPU, which is done with it when the call returns, by its kind.

    What passes between operators (Python, autograd's own work, this clock) is not counted.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds_by_kind: defaultdict[str, float] = defaultdict(float)
        self._in_phase: defaultdict[str, float] = defaultdict(float)

    def mark(self, phase: Phase) -> None:
        """A phase of the step has ended; what the optimiser does is its own kind, whatever the operator."""
        for kind, elapsed_s in self._in_phase.items():
            self.seconds_by_kind["optimiser" if phase == "optimiser" else kind] += elapsed_s
        self._in_phase.clear()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's own signature, here and below
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run the operator and time it."""
        start_s = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        elapsed_s = time.perf_counter() - start_s
        self._in_phase[operators.kind(func, args)] += elapsed_s
        return result
