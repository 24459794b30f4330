"""Who repairs what failed: technicians who take one node after the other."""

from __future__ import annotations

from heapq import heappop, heappush


class RepairShop:
    """Technicians, each with one node at a time, first come first served; None for as many as it takes."""

    def __init__(self, technicians: int | None) -> None:
        self._busy_until_s = None if technicians is None else [0.0] * technicians

    def done_s(self, now_s: float, repair_s: float) -> float:
        """When a node that fails now is back, after its turn in the queue. Times passed in never go back.

        >>> shop = RepairShop(1)
        >>> shop.done_s(0.0, 10.0), shop.done_s(4.0, 10.0), shop.done_s(50.0, 1.0)
        (10.0, 20.0, 51.0)
        """
        if self._busy_until_s is None or repair_s == 0.0:
            return now_s + repair_s
        end_s = max(now_s, heappop(self._busy_until_s)) + repair_s
        heappush(self._busy_until_s, end_s)
        return end_s
