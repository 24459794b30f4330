"""How fast everything goes that shares bandwidth: max-min fair rates, solved anew where something changed.

An *activity* (a transfer, a checkpoint, a read of a data set) needs *resources* (a disk, a network card, a
link), each at so many units for each unit of its own rate. Between two events all rates are constant. They
are max-min fair: no activity can go faster without slowing one that goes, for its weight, no faster
(progressive filling, Bertsekas and Gallager, Data Networks, 6.5.2). One solver serves network and storage,
so a path from a device to a GPU is one path.

Activities that need the same in the same way are one bundle, whose members share alike and end in the order
of what they have left. Only resources that are used up couple their users, so a change is solved among
those that such resources connect it with, as far as rates really change. What an event costs therefore
depends on what it touches, not on the size of the data centre. There is no clock here: time is passed in.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

from sim.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping

Usages: TypeAlias = "tuple[tuple[int, float], ...]"
"""Resources by number, and units of each for a unit of the activity's rate."""
SAME: Final = 1e-9
"""Two rates within this of one another, relatively, are the same."""
EXACT: Final = 1e-12
"""What rounding may leave of a sum of which nothing should be left."""
OLDEST: Final = 64
"""Changes of what is used of a resource after which it is added up anew."""
LEAST_LEFT: Final = 1e-9
"""An activity with less than this share of its amount left has ended."""


VOID: Final = -1
UNSETTLED: Final = -1.0
CAP, SHARE, WAS_FULL = 0, 1, 2


class Activity:
    """Something that takes time at a rate that others may slow down. ``what`` is the caller's own."""

    __slots__ = ("amount", "bundle", "priority", "sequence", "target", "what")

    def __init__(self, amount: float, priority: int, sequence: int, what: Hashable) -> None:
        self.amount = amount
        """Units of work, such as bytes; infinite for what goes on until it is removed."""
        self.priority = priority
        """Who ends first of those that end at one moment; smaller first."""
        self.sequence = sequence
        self.what = what
        self.bundle: _Bundle | None = None
        """Those that share alike; None once it has ended."""
        self.target = math.inf
        """What each of its bundle must have been served when this one ends."""


class _Bundle:
    """Activities with the same usages, weight and cap: each goes at ``rate``."""

    __slots__ = (
        "at_s", "cap", "drawn", "members", "own", "queue", "rate", "served", "shared", "tightest", "total",
        "usages", "version", "weight",
    )  # fmt: skip

    def __init__(self, usages: Usages, weight: float, cap: float, now_s: float) -> None:
        self.usages = usages
        self.weight = weight
        self.cap = cap
        self.members = 0
        self.rate = 0.0
        self.drawn = 0.0
        """Rate of all members together as it was last solved."""
        self.served = 0.0
        """Units that each member was served since the bundle began, up to ``at_s``."""
        self.total = 0.0
        """Units that all its members together were served up to then."""
        self.own: dict[int, float] = {}
        """Usages of resources that nobody else uses: all they do is to limit its rate."""
        self.tightest: tuple[float, int] | None = None
        """The rate of all members together that these allow, and which of them does; None if not known."""
        self.shared: dict[int, float] = {}
        """Usages of the others."""
        self.at_s = now_s
        self.version = 0
        """Which foresight of its next end counts; older ones are void."""
        self.queue: list[tuple[float, int, int, Activity]] = []
        """Members by what they must have been served, some of which may be gone."""

    def activities(self) -> Iterator[Activity]:
        """Its members that end at some time."""
        return (entry[3] for entry in self.queue if entry[3].bundle is self)

    def serve(self, now_s: float) -> None:
        """Its members go on at their rate up to now."""
        if now_s > self.at_s:
            if self.rate:
                self.served += self.rate * (now_s - self.at_s)
                self.total += self.drawn * (now_s - self.at_s)
            self.at_s = now_s

    @property
    def level(self) -> float:
        """Rate for its weight: what fairness compares."""
        return self.rate / self.weight


class Fluid:
    """Resources, the activities on them, and their rates. Times that are passed in never go back."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.capacities: list[float] = []
        """Units a second of each resource."""
        self._users: list[dict[_Bundle, float]] = []
        """Bundles on each resource, and their usage of it."""
        self._level: list[float] = []
        """How fast the fastest user of a used-up resource goes, for its weight; infinite where some is
        left. Only resources that are used up couple their users."""
        self._used: list[float] = []
        self._age: list[int] = []
        """How often that was changed since it was last added up."""
        self._moved: list[float] = []
        self._since_s: list[float] = []
        self._base: list[float] = []
        """Of a resource with one user: what that had been served in all when it became the only one."""
        self._bundles: dict[tuple[Usages, float, float], _Bundle] = {}
        self._changed: dict[_Bundle, None] = {}
        """Bundles whose members or cap changed since rates were last solved."""
        self._touched: dict[int, None] = {}
        """Resources whose capacity changed, or which lost a user, since then."""
        self._ends: list[tuple[float, int, _Bundle]] = []
        """When the next member of a bundle is foreseen to end, with the version of the bundle then."""
        self._sequence = count()
        self._versions = count(1)
        self._now_s = 0.0
        self.on_change: Callable[[Iterator[Activity], float, float], None] | None = None
        """Told, before rates change, which activities went at which rate until now."""
        self.on_solved: Callable[[Iterator[Activity]], None] | None = None
        """Told, after rates were solved, of which activities."""
        self.solved = 0
        """Bundles whose rates were computed so far: what solving has cost."""

    # ---- what is there

    def resource(self, name: str, capacity: float) -> int:
        """A new resource of so many units a second; returns its number. PlanError below zero or endless."""
        _check_capacity(name, capacity)
        self.names.append(name)
        self.capacities.append(capacity)
        self._users.append({})
        self._level.append(math.inf)
        self._used.append(0.0)
        self._age.append(0)
        self._moved.append(0.0)
        self._since_s.append(self._now_s)
        self._base.append(0.0)
        return len(self.names) - 1

    def add(
        self,
        amount: float,
        usages: Mapping[int, float] | Iterable[int],
        now_s: float,
        *,
        weight: float = 1.0,
        cap: float = math.inf,
        priority: int = 0,
        what: Hashable = None,
    ) -> Activity:
        """Begin an activity; its rate is known once something asks for rates or ends.

        Raises PlanError for an amount, weight or cap that is none, for unknown resources, and for an activity
        that nothing limits.
        """
        if not amount >= 0 or not 0 < weight < math.inf or not cap > 0:
            raise PlanError(
                f"an activity needs an amount of 0 or more, a finite weight and a cap above 0; "
                f"got {amount:g}, {weight:g} and {cap:g}"
            )
        key = (self._usages(usages), weight, cap)
        if not key[0] and cap == math.inf:
            raise PlanError("an activity needs a resource or a cap: nothing limits its rate")
        self._go_on(now_s)
        bundle = self._bundles.get(key)
        if bundle is None:
            bundle = self._bundles[key] = _Bundle(*key, now_s)
            for resource, usage in key[0]:
                self._join(resource, bundle, usage)
        bundle.serve(now_s)
        activity = Activity(amount, priority, next(self._sequence), what)
        activity.bundle = bundle
        activity.target = bundle.served + amount
        bundle.members += 1
        if amount < math.inf:
            heappush(bundle.queue, (activity.target, priority, activity.sequence, activity))
        self._changed[bundle] = None
        return activity

    def remove(self, activity: Activity, now_s: float) -> float:
        """End an activity before its time; returns what it had left. PlanError if it has ended."""
        left = self.left(activity, now_s)
        self._leave(activity, now_s)
        return left

    def set_capacity(self, resource: int, capacity: float, now_s: float) -> None:
        """A resource gets faster, slower, or fails (0)."""
        _check_capacity(self.names[resource], capacity)
        self._go_on(now_s)
        if capacity != self.capacities[resource]:
            self.capacities[resource] = capacity
            users = self._users[resource]
            if len(users) == 1:
                for bundle in users:
                    bundle.tightest = None
                    self._changed[bundle] = None
            else:
                self._touched[resource] = None

    # ---- how fast it goes

    def rate(self, activity: Activity) -> float:
        """Units a second of an activity from now on; 0 once it has ended."""
        self._solve()
        return activity.bundle.rate if activity.bundle is not None else 0.0

    def left(self, activity: Activity, now_s: float) -> float:
        """What an activity has still to do. PlanError if it has ended."""
        bundle = activity.bundle
        if bundle is None:
            raise PlanError("the activity has ended already")
        self._go_on(now_s)
        bundle.serve(now_s)
        return max(activity.target - bundle.served, 0.0)

    def binding(self, activity: Activity) -> int | None:
        """The resource that limits an activity most, as when rates were last solved; None if none does."""
        bundle = activity.bundle
        if bundle is None:
            return None
        levels = self._level
        if bundle.shared:
            level, resource = min((levels[resource], resource) for resource in bundle.shared)
            if level < math.inf:
                return resource
        if not bundle.own:
            return None
        most, resource = bundle.tightest or self._tightest(bundle)
        return resource if bundle.drawn >= most * (1 - SAME) else None

    def used(self, resource: int) -> float:
        """Units a second of a resource that are in use from now on."""
        self._solve()
        users = self._users[resource]
        if len(users) != 1:
            return self._used[resource]
        ((bundle, usage),) = users.items()
        return usage * bundle.drawn

    def moved(self, resource: int, now_s: float) -> float:
        """Units that a resource has carried until now: the integral of its use, exact between events."""
        self._solve()
        users = self._users[resource]
        if len(users) != 1:
            return self._moved[resource] + self._used[resource] * (now_s - self._since_s[resource])
        ((bundle, usage),) = users.items()
        total = bundle.total + bundle.drawn * (now_s - bundle.at_s)
        return self._moved[resource] + usage * (total - self._base[resource])

    def next_end_s(self) -> float:
        """When the next activity ends if nothing else happens; infinite when none ever does."""
        self._solve()
        ends = self._ends
        while ends:
            at_s, version, bundle = ends[0]
            if bundle.version == version:
                return at_s
            heappop(ends)
        return math.inf

    def end_due(self, now_s: float) -> list[Activity]:
        """The activities that end by now, by priority and age; they leave."""
        due: list[Activity] = []
        while (foreseen_s := self.next_end_s()) <= now_s and foreseen_s < math.inf:
            at_s, _, bundle = heappop(self._ends)
            bundle.serve(max(at_s, bundle.at_s))
            self._take_ended(bundle, due, at_s)
        due.sort(key=_by_priority)
        return due

    def check(self) -> None:
        """Assert what makes rates max-min fair.

        Each activity is at its cap, or on a resource that is used up and on which nobody goes, for its
        weight, faster.
        """
        self._solve()
        for resource, users in enumerate(self._users):
            total = sum(bundle.members * usage * bundle.rate for bundle, usage in users.items())
            if total > self.capacities[resource] * (1 + 1e-7) + 1e-12:
                raise AssertionError(f"{self.names[resource]} is used beyond its capacity: {total:g}")
        for bundle in self._bundles.values():
            if bundle.rate >= bundle.cap * (1 - 1e-7):
                continue
            if not any(self._binds(resource, bundle) for resource, _ in bundle.usages):
                raise AssertionError(f"nothing limits {bundle.usages} to {bundle.rate:g}")

    def _binds(self, resource: int, bundle: _Bundle) -> bool:
        users = self._users[resource]
        total = sum(other.members * usage * other.rate for other, usage in users.items())
        fastest = max(other.level for other in users)
        full = total >= self.capacities[resource] * (1 - 1e-7)
        return full and bundle.level >= fastest * (1 - 1e-7)

    # ---- inside

    def _go_on(self, now_s: float) -> None:
        """Time goes on: what changed before held from then on."""
        if now_s > self._now_s:
            self._solve()
            self._now_s = now_s

    def _usages(self, usages: Mapping[int, float] | Iterable[int]) -> Usages:
        pairs = usages.items() if hasattr(usages, "items") else ((resource, 1.0) for resource in usages)
        found: dict[int, float] = {}
        for resource, usage in pairs:
            if not 0 <= resource < len(self.names):
                raise PlanError(f"there is no resource {resource}")
            if not 0 <= usage < math.inf:
                raise PlanError(f"a usage of {usage:g} of {self.names[resource]} is not 0 or more")
            if usage:
                found[resource] = found.get(resource, 0.0) + usage
        return tuple(sorted(found.items()))

    def _tightest(self, bundle: _Bundle) -> tuple[float, int]:
        """Which of the resources of its own allows a bundle the least rate, and how much in all."""
        capacities = self.capacities
        bundle.tightest = found = min(
            (capacities[resource] / usage, resource) for resource, usage in bundle.own.items()
        )
        return found

    def _leave(self, activity: Activity, now_s: float) -> None:
        bundle = activity.bundle
        if bundle is None:
            raise PlanError("the activity has ended already")
        self._go_on(now_s)
        bundle.serve(now_s)
        activity.bundle = None
        bundle.members -= 1
        if bundle.members:
            self._changed[bundle] = None
        else:
            self._drop(bundle)

    def _drop(self, bundle: _Bundle) -> None:
        """A bundle without members is no more."""
        bundle.version = VOID
        self._changed.pop(bundle, None)
        del self._bundles[bundle.usages, bundle.weight, bundle.cap]
        for resource, usage in bundle.own.items():
            self._users[resource].clear()
            self._moved[resource] += usage * (bundle.total - self._base[resource])
            self._since_s[resource] = self._now_s
            self._used[resource] = 0.0
            self._level[resource] = math.inf
        for resource, usage in bundle.shared.items():
            self._leave_resource(resource, bundle, usage)

    def _join(self, resource: int, bundle: _Bundle, usage: float) -> None:
        """A bundle uses a resource from now on; if it was another's own, it is so no more."""
        users = self._users[resource]
        if not users:
            bundle.own[resource] = usage
            bundle.tightest = None
            self._base[resource] = 0.0
        else:
            bundle.shared[resource] = usage
            if len(users) == 1:
                ((other, theirs),) = users.items()
                other.serve(self._now_s)
                del other.own[resource]
                if other.tightest is not None and other.tightest[1] == resource:
                    other.tightest = None
                other.shared[resource] = theirs
                self._moved[resource] += theirs * (other.total - self._base[resource])
                self._since_s[resource] = self._now_s
                self._used[resource] = theirs * other.drawn
                full = self._used[resource] >= self.capacities[resource] * (1 - SAME)
                self._level[resource] = other.level if full else math.inf
        users[bundle] = usage

    def _leave_resource(self, resource: int, bundle: _Bundle, usage: float) -> None:
        """A bundle uses a resource no more that others use; rates that follow are solved later."""
        now_s, users = self._now_s, self._users[resource]
        self._moved[resource] += self._used[resource] * (now_s - self._since_s[resource])
        self._since_s[resource] = now_s
        self._used[resource] -= usage * bundle.drawn
        del users[bundle]
        if len(users) > 1:
            self._touched[resource] = None
            return
        self._touched.pop(resource, None)
        ((other, theirs),) = users.items()
        other.serve(now_s)
        del other.shared[resource]
        other.own[resource] = theirs
        other.tightest = None
        self._base[resource] = other.total
        self._changed[other] = None

    def _take_ended(self, bundle: _Bundle, due: list[Activity], now_s: float) -> None:
        """Members that were served what they wanted leave; the first does, whatever rounding left of it."""
        self._go_on(max(self._now_s, now_s))
        queue = bundle.queue
        served = bundle.served
        first = True
        while queue:
            target, _, _, activity = queue[0]
            if activity.bundle is not bundle:
                heappop(queue)
                continue
            if not first and target - served > LEAST_LEFT * activity.amount:
                break
            heappop(queue)
            first = False
            activity.bundle = None
            bundle.members -= 1
            due.append(activity)
        if bundle.members:
            self._changed[bundle] = None
        else:
            self._drop(bundle)

    def _foresee(self, bundle: _Bundle) -> None:
        """Note when the next member of a bundle ends at the rate it has now."""
        bundle.version = next(self._versions)
        queue = bundle.queue
        while queue and queue[0][3].bundle is not bundle:
            heappop(queue)
        if queue and bundle.rate > 0:
            left = max(queue[0][0] - bundle.served, 0.0)
            heappush(self._ends, (bundle.at_s + left / bundle.rate, bundle.version, bundle))
            if len(self._ends) > 64 + 4 * len(self._bundles):
                self._ends = [entry for entry in self._ends if entry[1] == entry[2].version]
                heapify(self._ends)

    def _solve(self) -> None:
        """Rates of all that the last changes concern."""
        if not self._changed and not self._touched:
            return
        changed, touched = self._changed, self._touched
        self._changed, self._touched = {}, {}
        filling = _Filling(self)
        for resource in touched:
            filling.touch(resource)
            if self._used[resource] > self.capacities[resource] * (1 + SAME):
                for bundle in self._users[resource]:
                    filling.join(bundle)
        for bundle in changed:
            filling.join(bundle)
        filling.run()
        self._assign(filling, changed)

    def _assign(self, filling: _Filling, changed: dict[_Bundle, None]) -> None:
        """Bundles go at their new rates from now on."""
        now_s = self._now_s
        self.solved += len(filling.rates)
        for bundle, rate in filling.rates.items():
            if rate != bundle.rate or bundle in changed:
                if self.on_change is not None:
                    self.on_change(bundle.activities(), bundle.rate, now_s)
                bundle.serve(now_s)
                bundle.rate = rate
                bundle.drawn = rate * bundle.members
                self._foresee(bundle)
        self._note_use(filling)
        if self.on_solved is not None:
            for bundle in filling.rates:
                self.on_solved(bundle.activities())

    def _note_use(self, filling: _Filling) -> None:
        """What is used of each resource concerned from now on, and how fast the fastest of its users goes.

        What is used follows from what was and what changed, and is now and then added up anew, so that
        rounding does not add up.
        """
        now_s, since_s, moved = self._now_s, self._since_s, self._moved
        used_of, levels, ages, capacities, full = (
            self._used, self._level, self._age, self.capacities, filling.full
        )  # fmt: skip
        for resource, left in filling.room.items():
            before = used_of[resource]
            if before:
                moved[resource] += before * (now_s - since_s[resource])
            since_s[resource] = now_s
            capacity = capacities[resource]
            ages[resource] = age = ages[resource] + 1
            if age > OLDEST:
                self._add_up(resource)
                continue
            used_of[resource] = used = capacity - left
            if used < capacity * (1 - SAME):
                levels[resource] = math.inf
            elif resource in full:
                levels[resource] = full[resource]
            else:
                self._add_up(resource)

    def _add_up(self, resource: int) -> None:
        """What is used of a resource, and how fast the fastest goes, from all of its users."""
        used = level = 0.0
        for bundle, usage in self._users[resource].items():
            used += usage * bundle.drawn
            of_bundle = bundle.rate / bundle.weight
            if of_bundle > level:
                level = of_bundle
        self._age[resource] = 0
        self._used[resource] = used
        self._level[resource] = level if used >= self.capacities[resource] * (1 - SAME) else math.inf


class _Filling:
    """Progressive filling of what a change concerns, the rest standing as it is until it must join.

    The level rises from nothing. A resource of those concerned is used up at its *share*: what the others
    leave of it, over the weight of those concerned. Then others on it that go faster join, the fastest first,
    as they have too much; with them the share is higher, so that what was settled at lower levels stands. And
    when the level reaches that at which a resource was used up before the change, and it is not used up now,
    those that it slowed join, as they may go faster. Either way they join at or above the level reached.
    """

    __slots__ = ("capped", "fluid", "full", "heap", "mine", "rates", "room", "shares", "weight")

    def __init__(self, fluid: Fluid) -> None:
        self.fluid = fluid
        self.rates: dict[_Bundle, float] = {}
        """Of those concerned; negative while not settled."""
        self.room: dict[int, float] = {}
        """Units of each resource concerned that its other users, and those settled, leave."""
        self.weight: dict[int, float] = {}
        """Of those on it that are not settled."""
        self.mine: dict[int, list[_Bundle]] = {}
        """Those concerned on each resource."""
        self.full: dict[int, float] = {}
        """Resources that were used up, and at which level."""
        self.shares: dict[int, float] = {}
        """Share at which each resource stands in the heap; its share now is not less."""
        self.capped: list[tuple[_Bundle, float]] = []
        """Those with a cap, or with resources of their own, and the rate that these allow."""
        self.heap: list[tuple[float, int, int]] = []
        """What happens at which level: a cap (0), a share (1), or where a resource was used up before (2)."""

    def touch(self, resource: int) -> None:
        """A resource is concerned."""
        if resource in self.room:
            return
        fluid = self.fluid
        self.room[resource] = fluid.capacities[resource] - fluid._used[resource]  # noqa: SLF001 - its own
        self.weight[resource] = 0.0
        self.mine[resource] = []
        before = fluid._level[resource]  # noqa: SLF001
        if before < math.inf:
            heappush(self.heap, (before, WAS_FULL, resource))

    def join(self, bundle: _Bundle) -> None:
        """A bundle is concerned: its rate is found anew."""
        if bundle in self.rates:
            return
        self.rates[bundle] = UNSETTLED
        load = bundle.members * bundle.weight
        drawn = bundle.drawn
        room, weight, shares = self.room, self.weight, self.shares
        for resource, usage in bundle.shared.items():
            if resource not in room:
                self.touch(resource)
            room[resource] = left = room[resource] + usage * drawn
            weight[resource] = total = weight[resource] + usage * load
            self.mine[resource].append(bundle)
            share = left / total if left > 0.0 else 0.0
            if resource not in shares or share < shares[resource]:
                shares[resource] = share
                heappush(self.heap, (share, SHARE, resource))
        cap = bundle.cap
        if bundle.own:
            most, _ = bundle.tightest or self.fluid._tightest(bundle)  # noqa: SLF001
            if most < cap * bundle.members:
                cap = most / bundle.members
        if cap < math.inf:
            heappush(self.heap, (cap / bundle.weight, CAP, len(self.capped)))
            self.capped.append((bundle, cap))

    def run(self) -> None:
        """Raise the level until all that is concerned is settled."""
        heap, room, weight, shares = self.heap, self.room, self.weight, self.shares
        while heap:
            level, what, number = heappop(heap)
            if what == SHARE:
                if shares.get(number) != level:
                    continue
                del shares[number]
                total, left = weight[number], room[number]
                if total <= 0.0:
                    continue
                share = left / total if left > 0.0 else 0.0
                if share > level and heap and share > heap[0][0]:
                    shares[number] = share
                    heappush(heap, (share, SHARE, number))
                else:
                    self._use_up(number, share)
            elif what == WAS_FULL:
                total, left = weight[number], room[number]
                slack = total * level * (1 + SAME) if total > 0.0 else SAME * self.fluid.capacities[number]
                if left > slack:
                    self._free_others(number, level)
            elif self.rates[self.capped[number][0]] < 0.0:
                self._settle(*self.capped[number])

    def _use_up(self, resource: int, share: float) -> None:
        """The level reached the share of a resource: it is used up, unless others on it must join first."""
        if self._slow_others(resource, share):
            total, left = self.weight[resource], self.room[resource]
            self.shares[resource] = share = left / total if left > 0.0 else 0.0
            heappush(self.heap, (share, SHARE, resource))
            return
        rates = self.rates
        for bundle in self.mine[resource]:
            if rates[bundle] < 0.0:
                self._settle(bundle, share * bundle.weight)
        self.weight[resource] = 0.0
        self.full[resource] = share

    def _settle(self, bundle: _Bundle, rate: float) -> None:
        rate = min(rate, bundle.cap)
        self.rates[bundle] = rate
        load, drawn = bundle.members * bundle.weight, bundle.members * rate
        room, weight = self.room, self.weight
        for resource, usage in bundle.shared.items():
            room[resource] -= usage * drawn
            left = weight[resource] - usage * load
            weight[resource] = left if left > EXACT * usage * load else 0.0

    def _slow_others(self, resource: int, share: float) -> bool:
        """Others on a resource that go faster than its share join, the fastest first; whether any did."""
        rates, limit = self.rates, share * (1 + SAME)
        faster = [
            bundle
            for bundle in self.fluid._users[resource]  # noqa: SLF001
            if bundle.rate > limit * bundle.weight and bundle not in rates
        ]
        if not faster:
            return False
        if len(faster) > 1:
            faster.sort(key=_by_level, reverse=True)
        for bundle in faster:
            total = self.weight[resource]
            if bundle.rate * total <= self.room[resource] * (1 + SAME) * bundle.weight:
                break
            self.join(bundle)
        return True

    def _free_others(self, resource: int, level: float) -> None:
        """Others that a resource slowed to a level join, as it does so no more."""
        limit = level * (1 - SAME)
        slowed = [
            bundle
            for bundle in self.fluid._users[resource]  # noqa: SLF001
            if bundle.rate >= limit * bundle.weight and bundle not in self.rates
        ]
        for bundle in slowed:
            self.join(bundle)


def _by_level(bundle: _Bundle) -> float:
    return bundle.rate / bundle.weight


def _by_priority(activity: Activity) -> tuple[int, int]:
    return activity.priority, activity.sequence


def _check_capacity(name: str, capacity: float) -> None:
    if not 0 <= capacity < math.inf:
        raise PlanError(
            f"{name} needs a capacity of 0 or more units a second that is finite, not {capacity:g}"
        )
