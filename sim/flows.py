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
MANY_VOID: Final = 64
"""Void notes of ends that may pile up, besides some for each bundle, before they are thrown out together."""
OLDEST: Final = 64
"""Changes of what is used of a resource after which it is added up anew."""
LEAST_LEFT: Final = 1e-9
"""An activity with less than this share of its amount left has ended."""
NOTED: Final = 0.75
"""Share of the way to its end at which a bundle is looked at again: until then its rate may change often
without a new note of its end."""
VOID: Final = -1
UNSETTLED: Final = -1.0
NONE_LESS: Final = -1.0
"""A share that none is less than, while many join on a resource, whose share is noted afterwards."""
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


class _Resource:
    """What activities share, with what a filling knows of it while it lasts."""

    __slots__ = (
        "age", "base", "capacity", "full", "level", "moved", "number", "room", "share", "since_s", "stamp",
        "used", "users", "weight",
    )  # fmt: skip

    def __init__(self, number: int, capacity: float, now_s: float) -> None:
        self.number = number
        self.capacity = capacity
        self.users: dict[_Bundle, float] = {}
        """Bundles on it, and their usage of it."""
        self.level = math.inf
        """How fast its fastest user goes, for its weight; infinite where some of it is left. Only resources
        that are used up couple their users."""
        self.used = 0.0
        self.age = 0
        """How often that was changed since it was last added up."""
        self.moved = 0.0
        self.since_s = now_s
        self.base = 0.0
        """Where it has one user: what that had been served in all when it became the only one."""
        self.stamp = 0
        """The number of the filling that the rest belongs to."""
        self.room = 0.0
        """Units that its other users, and those settled, leave."""
        self.weight = 0.0
        """Of those concerned on it that are not settled."""
        self.share = math.inf
        """At which it stands in the heap; its share now is not less."""
        self.full = -1.0
        """The level at which it was used up; negative while it was not."""

    @property
    def is_full(self) -> bool:
        """Whether none of it is left."""
        return self.used >= self.capacity * (1 - SAME)

    def account(self, now_s: float) -> None:
        """What was used of it was used until now."""
        if self.used:
            self.moved += self.used * (now_s - self.since_s)
        self.since_s = now_s

    def add_up(self) -> None:
        """What is used of it, and how fast the fastest goes, from all of its users."""
        used = level = 0.0
        for bundle, usage in self.users.items():
            used += usage * bundle.drawn
            level = max(level, bundle.rate / bundle.weight)
        self.age, self.used = 0, used
        self.level = level if self.is_full else math.inf


class _Bundle:
    """Activities with the same usages, weight and cap: each goes at ``rate``."""

    __slots__ = (
        "at_s", "cap", "drawn", "end_s", "found", "members", "noted_s", "own", "queue", "rate", "served",
        "shared", "stamp", "tightest", "total", "usages", "version", "weight",
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
        self.own: dict[_Resource, float] = {}
        """Usages of resources that nobody else uses: all they do is to limit its rate."""
        self.tightest: tuple[float, int] | None = None
        """The rate of all members together that these allow, and which of them does; None if not known."""
        self.shared: dict[_Resource, float] = {}
        """Usages of the others."""
        self.at_s = now_s
        self.end_s = math.inf
        """When its next member ends at the rate it has."""
        self.noted_s = math.inf
        """When it is to be looked at again: not after that."""
        self.version = 0
        """Which note of that counts; older ones are void."""
        self.queue: list[tuple[float, int, int, Activity]] = []
        """Members by what they must have been served, some of which may be gone."""
        self.stamp = 0
        """The number of the filling that last concerned it."""
        self.found = UNSETTLED
        """Its rate by that; negative while it is not settled."""

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

    def served_by(self, now_s: float) -> float:
        """Units that all its members together will have been served by then."""
        return self.total + self.drawn * (now_s - self.at_s)

    def find_tightest(self) -> tuple[float, int]:
        """Which of the resources of its own allows it the least rate, and how much in all."""
        limits = ((resource.capacity / usage, resource.number) for resource, usage in self.own.items())
        self.tightest = found = min(limits)
        return found

    @property
    def level(self) -> float:
        """Rate for its weight: what fairness compares."""
        return self.rate / self.weight


class Fluid:
    """Resources, the activities on them, and their rates. Times that are passed in never go back."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.resources: list[_Resource] = []
        self._bundles: dict[tuple[Usages, float, float], _Bundle] = {}
        self._changed: dict[_Bundle, None] = {}
        """Bundles whose members or cap changed since rates were last solved."""
        self._touched: dict[_Resource, None] = {}
        """Resources whose capacity changed, or which lost a user, since then."""
        self._ends: list[tuple[float, int, _Bundle]] = []
        """When a bundle is to be looked at, as its next member may end then, with its version."""
        self._sequence = count()
        self._versions = count(1)
        self._fillings = 0
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
        self.resources.append(_Resource(len(self.resources), capacity, self._now_s))
        return len(self.names) - 1

    def capacity(self, resource: int) -> float:
        """Units a second of a resource."""
        return self.resources[resource].capacity

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
            resources = self.resources
            for resource, usage in key[0]:
                self._join(resources[resource], bundle, usage)
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
        what = self.resources[resource]
        if capacity != what.capacity:
            what.capacity = capacity
            if len(what.users) == 1:
                for bundle in what.users:
                    bundle.tightest = None
                    self._changed[bundle] = None
            else:
                self._touched[what] = None

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
        lowest: _Resource | None = None
        for resource in bundle.shared:
            if lowest is None or (resource.level, resource.number) < (lowest.level, lowest.number):
                lowest = resource
        if lowest is not None and lowest.level < math.inf:
            return lowest.number
        if not bundle.own:
            return None
        most, number = bundle.tightest or bundle.find_tightest()
        return number if bundle.drawn >= most * (1 - SAME) else None

    def used(self, resource: int) -> float:
        """Units a second of a resource that are in use from now on."""
        self._solve()
        what = self.resources[resource]
        if len(what.users) != 1:
            return what.used
        ((bundle, usage),) = what.users.items()
        return usage * bundle.drawn

    def moved(self, resource: int, now_s: float) -> float:
        """Units that a resource has carried until now: the integral of its use, exact between events."""
        self._solve()
        what = self.resources[resource]
        if len(what.users) != 1:
            return what.moved + what.used * (now_s - what.since_s)
        ((bundle, usage),) = what.users.items()
        return what.moved + usage * (bundle.served_by(now_s) - what.base)

    def next_end_s(self) -> float:
        """When the next activity ends if nothing else happens; infinite when none ever does."""
        self._solve()
        ends = self._ends
        while ends:
            at_s, version, bundle = ends[0]
            if bundle.version == version:
                if bundle.end_s <= at_s:
                    return at_s
                heappop(ends)
                self._note(bundle, bundle.end_s)
            else:
                heappop(ends)
        return math.inf

    def end_due(self, now_s: float) -> list[Activity]:
        """The activities that end by now, by priority and age; they leave."""
        due: list[Activity] = []
        while (foreseen_s := self.next_end_s()) <= now_s and foreseen_s < math.inf:
            at_s, _, bundle = heappop(self._ends)
            bundle.noted_s = math.inf
            bundle.serve(max(at_s, bundle.at_s))
            self._take_ended(bundle, due, at_s)
        due.sort(key=_by_priority)
        return due

    def check(self) -> None:
        """Assert what makes rates max-min fair.

        Each activity is at its cap, or on a resource that is used up and on which nobody goes, for its
        weight, faster. And the next end is the earliest of all.
        """
        self._solve()
        first_s = min((bundle.end_s for bundle in self._bundles.values()), default=math.inf)
        if self.next_end_s() != first_s:
            raise AssertionError(f"the next end is at {first_s} s, and {self.next_end_s()} s is foreseen")
        for resource in self.resources:
            total = sum(bundle.members * usage * bundle.rate for bundle, usage in resource.users.items())
            if total > resource.capacity * (1 + 1e-7) + 1e-12:
                raise AssertionError(f"{self.names[resource.number]} is used beyond its capacity: {total:g}")
        for bundle in self._bundles.values():
            if bundle.rate >= bundle.cap * (1 - 1e-7):
                continue
            if not any(_binds(self.resources[resource], bundle) for resource, _ in bundle.usages):
                raise AssertionError(f"nothing limits {bundle.usages} to {bundle.rate:g}")

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
            resource.users.clear()
            resource.moved += usage * (bundle.total - resource.base)
            resource.since_s = self._now_s
            resource.used = 0.0
            resource.level = math.inf
        for resource, usage in bundle.shared.items():
            self._leave_resource(resource, bundle, usage)

    def _join(self, resource: _Resource, bundle: _Bundle, usage: float) -> None:
        """A bundle uses a resource from now on; if it was another's own, it is so no more."""
        users = resource.users
        if not users:
            bundle.own[resource] = usage
            bundle.tightest = None
            resource.base = 0.0
        else:
            bundle.shared[resource] = usage
            if len(users) == 1:
                ((other, theirs),) = users.items()
                other.serve(self._now_s)
                del other.own[resource]
                other.tightest = None
                other.shared[resource] = theirs
                resource.moved += theirs * (other.total - resource.base)
                resource.since_s = self._now_s
                resource.used = theirs * other.drawn
                resource.level = other.level if resource.is_full else math.inf
        users[bundle] = usage

    def _leave_resource(self, resource: _Resource, bundle: _Bundle, usage: float) -> None:
        """A bundle uses a resource no more that others use; rates that follow are solved later."""
        resource.account(self._now_s)
        resource.used -= usage * bundle.drawn
        users = resource.users
        del users[bundle]
        if len(users) > 1:
            self._touched[resource] = None
            return
        self._touched.pop(resource, None)
        ((other, theirs),) = users.items()
        other.serve(self._now_s)
        del other.shared[resource]
        other.own[resource] = theirs
        other.tightest = None
        resource.base = other.total
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
        """When the next member of a bundle ends at the rate it has now.

        Rates change often and ends seldom come. So the heap holds for each bundle one time that is not after
        its end, on the way to it, and a new one only where the end has come before that.
        """
        queue = bundle.queue
        while queue and queue[0][3].bundle is not bundle:
            heappop(queue)
        if queue and bundle.rate > 0:
            left_s = max(queue[0][0] - bundle.served, 0.0) / bundle.rate
            bundle.end_s = bundle.at_s + left_s
            if bundle.end_s < bundle.noted_s:
                self._note(bundle, bundle.at_s + NOTED * left_s)
        else:
            bundle.end_s = math.inf

    def _note(self, bundle: _Bundle, time_s: float) -> None:
        """Look at a bundle again at a time; older notes of it are void."""
        bundle.noted_s = time_s
        if time_s == math.inf:
            bundle.version = VOID
            return
        bundle.version = next(self._versions)
        heappush(self._ends, (time_s, bundle.version, bundle))
        if len(self._ends) > MANY_VOID + 4 * len(self._bundles):
            self._ends[:] = [entry for entry in self._ends if entry[1] == entry[2].version]
            heapify(self._ends)

    def _solve(self) -> None:
        """Rates of all that the last changes concern."""
        if not self._changed and not self._touched:
            return
        changed, touched = self._changed, self._touched
        self._changed, self._touched = {}, {}
        self._fillings += 1
        filling = _Filling(self.resources, self._fillings)
        for resource in touched:
            filling.touch(resource)
            if resource.used > resource.capacity * (1 + SAME):
                for bundle in resource.users:
                    filling.join(bundle)
        for bundle in changed:
            filling.join(bundle)
        filling.run()
        self._assign(filling, changed)

    def _assign(self, filling: _Filling, changed: dict[_Bundle, None]) -> None:
        """Bundles go at their new rates from now on."""
        now_s = self._now_s
        self.solved += len(filling.bundles)
        for bundle in filling.bundles:
            rate = bundle.found
            if rate != bundle.rate or bundle in changed:
                if self.on_change is not None:
                    self.on_change(bundle.activities(), bundle.rate, now_s)
                bundle.serve(now_s)
                bundle.rate = rate
                bundle.drawn = rate * bundle.members
                self._foresee(bundle)
        for resource in filling.touched:
            self._note_use(resource)
        if self.on_solved is not None:
            for bundle in filling.bundles:
                self.on_solved(bundle.activities())

    def _note_use(self, resource: _Resource) -> None:
        """What is used of a resource from now on, and how fast the fastest of its users goes.

        What is used follows from what was and what changed, and is now and then added up anew, so that
        rounding does not add up.
        """
        now_s = self._now_s
        if resource.used:
            resource.moved += resource.used * (now_s - resource.since_s)
        resource.since_s = now_s
        resource.age += 1
        capacity = resource.capacity
        resource.used = used = capacity - resource.room
        if resource.age > OLDEST:
            resource.add_up()
        elif used < capacity * (1 - SAME):
            resource.level = math.inf
        elif resource.full >= 0.0:
            resource.level = resource.full
        else:
            resource.add_up()


class _Filling:
    """Progressive filling of what a change concerns, the rest standing as it is until it must join.

    The level rises from nothing. A resource of those concerned is used up at its *share*: what the others
    leave of it, over the weight of those concerned. Then others on it that go faster join, the fastest first,
    as they have too much; with them the share is higher, so that what was settled at lower levels stands. And
    when the level reaches that at which a resource was used up before the change, and it is not used up now,
    those that it slowed join, as they may go faster. Either way they join at or above the level reached.
    """

    __slots__ = ("bundles", "capped", "heap", "open", "resources", "stamp", "touched")

    def __init__(self, resources: list[_Resource], stamp: int) -> None:
        self.resources = resources
        self.stamp = stamp
        """Its number, by which it knows who is concerned."""
        self.open = 0
        """Bundles that are not settled, and resources that were used up before and may free others."""
        self.bundles: list[_Bundle] = []
        """Those concerned."""
        self.touched: list[_Resource] = []
        """Resources concerned."""
        self.capped: list[tuple[_Bundle, float]] = []
        """Those with a cap, or with resources of their own, and the rate that these allow."""
        self.heap: list[tuple[float, int, int]] = []
        """What happens at which level: a cap (0), a share (1), or where a resource was used up before (2)."""

    def touch(self, resource: _Resource) -> None:
        """A resource is concerned."""
        if resource.stamp == self.stamp:
            return
        resource.stamp = self.stamp
        resource.room = resource.capacity - resource.used
        resource.weight = 0.0
        resource.share = math.inf
        resource.full = -1.0
        self.touched.append(resource)
        if resource.level < math.inf:
            self.open += 1
            heappush(self.heap, (resource.level, WAS_FULL, resource.number))

    def join(self, bundle: _Bundle) -> None:
        """A bundle is concerned: its rate is found anew."""
        stamp = self.stamp
        if bundle.stamp == stamp:
            return
        bundle.stamp, bundle.found = stamp, UNSETTLED
        self.open += 1
        self.bundles.append(bundle)
        load, drawn, heap = bundle.members * bundle.weight, bundle.drawn, self.heap
        for resource, usage in bundle.shared.items():
            if resource.stamp != stamp:
                self.touch(resource)
            resource.room = left = resource.room + usage * drawn
            resource.weight = total = resource.weight + usage * load
            if left < resource.share * total:
                resource.share = share = left / total if left > 0.0 else 0.0
                heappush(heap, (share, SHARE, resource.number))
        cap = bundle.cap
        if bundle.own:
            most, _ = bundle.tightest or bundle.find_tightest()
            if most < cap * bundle.members:
                cap = most / bundle.members
        if cap < math.inf:
            heappush(heap, (cap / bundle.weight, CAP, len(self.capped)))
            self.capped.append((bundle, cap))

    def run(self) -> None:
        """Raise the level until all that is concerned is settled."""
        heap, resources, capped = self.heap, self.resources, self.capped
        while self.open:
            if not heap:
                self._weigh_anew()
            level, what, number = heappop(heap)
            if what == CAP:
                bundle, cap = capped[number]
                if bundle.found < 0.0:
                    self._settle(bundle, cap)
                continue
            resource = resources[number]
            total, left = resource.weight, resource.room
            if what == SHARE:
                if resource.share != level:
                    continue
                resource.share = math.inf
                if total <= 0.0:
                    continue
                share = left / total if left > 0.0 else 0.0
                if share > level and heap and share > heap[0][0]:
                    resource.share = share
                    heappush(heap, (share, SHARE, number))
                else:
                    self._use_up(resource, share)
            else:
                self.open -= 1
                slack = total * level * (1 + SAME) if total > 0.0 else SAME * resource.capacity
                if left > slack:
                    self._free_others(resource, level)

    def _weigh_anew(self) -> None:
        """Weights that rounding took for nothing beside far larger ones are added up."""
        for resource in self.touched:
            resource.weight = 0.0
        unsettled = [bundle for bundle in self.bundles if bundle.found < 0.0]
        for bundle in unsettled:
            for resource, usage in bundle.shared.items():
                resource.weight += usage * bundle.members * bundle.weight
        for resource in dict.fromkeys(resource for bundle in unsettled for resource in bundle.shared):
            resource.share = max(resource.room, 0.0) / resource.weight
            heappush(self.heap, (resource.share, SHARE, resource.number))

    def _use_up(self, resource: _Resource, share: float) -> None:
        """The level reached the share of a resource: it is used up, unless others on it must join first."""
        limit, stamp = share * (1 + SAME), self.stamp
        mine, faster = [], []
        for bundle in resource.users:
            if bundle.stamp == stamp:
                if bundle.found < 0.0:
                    mine.append(bundle)
            elif bundle.rate > limit * bundle.weight:
                faster.append(bundle)
        if faster:
            self._slow(faster, resource)
            total, left = resource.weight, resource.room
            resource.share = share = left / total if left > 0.0 else 0.0
            heappush(self.heap, (share, SHARE, resource.number))
            return
        for bundle in mine:
            self._settle(bundle, share * bundle.weight)
        resource.weight = 0.0
        resource.full = share

    def _settle(self, bundle: _Bundle, rate: float) -> None:
        bundle.found = rate if rate < bundle.cap else bundle.cap  # noqa: FURB136 - a call would be felt
        self.open -= 1
        load, drawn = bundle.members * bundle.weight, bundle.members * bundle.found
        for resource, usage in bundle.shared.items():
            resource.room -= usage * drawn
            left = resource.weight - usage * load
            resource.weight = left if left > EXACT * usage * load else 0.0

    def _slow(self, faster: list[_Bundle], resource: _Resource) -> None:
        """Others on a resource that go faster than its share join, the fastest first, as far as they do."""
        if len(faster) > 1:
            faster.sort(key=_by_level, reverse=True)
        resource.share = NONE_LESS
        for bundle in faster:
            if bundle.rate * resource.weight <= resource.room * (1 + SAME) * bundle.weight:
                break
            self.join(bundle)

    def _free_others(self, resource: _Resource, level: float) -> None:
        """Others that a resource slowed to a level join, as it does so no more."""
        limit, stamp = level * (1 - SAME), self.stamp
        slowed = [
            bundle
            for bundle in resource.users
            if bundle.rate >= limit * bundle.weight and bundle.stamp != stamp
        ]
        share, resource.share = resource.share, NONE_LESS
        for bundle in slowed:
            self.join(bundle)
        total, left = resource.weight, resource.room
        resource.share = share
        if left < share * total:
            resource.share = share = left / total if left > 0.0 else 0.0
            heappush(self.heap, (share, SHARE, resource.number))


def _binds(resource: _Resource, bundle: _Bundle) -> bool:
    """Whether a resource is used up and nobody on it goes faster than a bundle."""
    total = sum(other.members * usage * other.rate for other, usage in resource.users.items())
    fastest = max(other.level for other in resource.users)
    full = total >= resource.capacity * (1 - 1e-7)
    return full and bundle.level >= fastest * (1 - 1e-7)


def _by_level(bundle: _Bundle) -> float:
    return bundle.rate / bundle.weight


def _by_priority(activity: Activity) -> tuple[int, int]:
    return activity.priority, activity.sequence


def _check_capacity(name: str, capacity: float) -> None:
    if not 0 <= capacity < math.inf:
        raise PlanError(
            f"{name} needs a capacity of 0 or more units a second that is finite, not {capacity:g}"
        )
