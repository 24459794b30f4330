"""Networks that the user draws: switches that hang on one another, or that are linked in any way."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from sim.parts import BytesPerSecond, Name, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Switch(Part):
    """A switch of a drawn network: the nodes it serves and, in a tree, what it hangs on."""

    name: Name = Field(description="how others and the report call it")
    above: Name | None = Field(None, description="in a tree, the switch that it hangs on; left out, the top")
    up: BytesPerSecond | None = Field(
        None, description="bandwidth of all its links to the switch above, each direction"
    )
    nodes: int = Field(0, ge=0, description="nodes on it, taken in the order of the fleet")

    @model_validator(mode="after")
    def _carries_something(self) -> Self:
        if (self.above is None) != (self.up is None):
            raise ValueError("above and up belong together")
        if self.up is not None and self.up <= 0:
            raise ValueError("up must be more than 0: nothing would ever pass")
        return self


class Link(Part):
    """A link between two switches of a drawn graph, or several side by side."""

    between: tuple[Name, Name] = Field(description="the two switches")
    rate: BytesPerSecond = Field(description="bandwidth of all links between the two, each direction")

    @model_validator(mode="after")
    def _joins_two(self) -> Self:
        one, other = self.between
        if one == other:
            raise ValueError(f'joins "{one}" with itself')
        if self.rate <= 0:
            raise ValueError("rate must be more than 0: nothing would ever pass")
        return self


def _each_stands_once(switches: Sequence[Switch]) -> None:
    for name, times in Counter(switch.name for switch in switches).items():
        if times > 1:
            raise ValueError(f'switch "{name}" stands there twice')


def check_tree(switches: Sequence[Switch]) -> None:
    """Refuse what is no tree.

    Raises:
        ValueError: With the first reason.
    """
    _each_stands_once(switches)
    above = {switch.name: switch.above for switch in switches}
    for name, over in above.items():
        if over is not None and over not in above:
            raise ValueError(f'switch "{name}" hangs on "{over}", which is not there')
    tops = [name for name, over in above.items() if over is None]
    for name, over in above.items():
        passed, at = [name], over
        while at is not None:
            if at in passed:
                raise ValueError(f"switches hang on one another in a circle: {' on '.join([*passed, at])}")
            passed.append(at)
            at = above[at]
    if len(tops) > 1:
        raise ValueError(
            f"the network falls into parts: {' and '.join(tops)} have nothing above them; one may"
        )


def check_graph(switches: Sequence[Switch], links: Sequence[Link]) -> None:
    """Refuse switches that are not joined by links, and links to what is not there.

    Raises:
        ValueError: With the first reason.
    """
    _each_stands_once(switches)
    names = [switch.name for switch in switches]
    hanging = next((switch.name for switch in switches if switch.above is not None), None)
    if hanging is not None:
        raise ValueError(f'switch "{hanging}" has above, as in a tree; a graph says it in links')
    for end in (end for link in links for end in link.between):
        if end not in names:
            raise ValueError(f'a link leads to switch "{end}", which is not there')
    for ends, times in Counter(frozenset(link.between) for link in links).items():
        if times > 1:
            raise ValueError(
                f"{' and '.join(sorted(ends))} are linked twice; one link carries what all between them do"
            )
    number = {name: place for place, name in enumerate(names)}
    graph = Graph(len(names), [(number[a], number[b], 1.0) for a, b in (link.between for link in links)])
    for place, steps in enumerate(graph.steps_to(0)):
        if steps is None:
            raise ValueError(f"the network falls into parts: no way leads from {names[place]} to {names[0]}")


def path_up(home: str, above: Mapping[str, str | None]) -> list[str]:
    """Switches of a tree from a node's own to the one below the top."""
    path, at = [], home
    while (over := above[at]) is not None:
        path.append(at)
        at = over
    return path


class Graph:
    """Switches by number and the links between them, each as wide in one direction as in the other.

    Traffic takes the ways with the fewest links. Where several are as short, each switch spreads it over the
    next links that lie on one, in proportion to what they carry, as weighted ECMP and adaptive routing do.
    """

    def __init__(self, switches: int, links: Sequence[tuple[int, int, float]]) -> None:
        self.switches = switches
        self._beside: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
        for number, (one, other, rate) in enumerate(links):
            self._beside[one].append((other, 2 * number, rate))
            self._beside[other].append((one, 2 * number + 1, rate))

    def steps_to(self, target: int) -> list[int | None]:
        """Links from each switch to one; None where no way leads there."""
        steps: list[int | None] = [None] * self.switches
        steps[target] = 0
        edge, far = [target], 0
        while edge:
            far += 1
            further = []
            for switch in edge:
                for other, _, _ in self._beside[switch]:
                    if steps[other] is None:
                        steps[other] = far
                        further.append(other)
            edge = further
        return steps

    def shares(self, source: int, target: int) -> dict[int, float]:
        """Share of what one switch sends another that each link carries.

        Link ``2 n`` is the n-th from its first switch to its second, ``2 n + 1`` the way back.

        >>> square = Graph(4, [(0, 1, 3.0), (0, 2, 1.0), (1, 3, 1.0), (2, 3, 1.0)])
        >>> square.shares(0, 3)
        {0: 0.75, 2: 0.25, 4: 0.75, 6: 0.25}
        """
        steps = self.steps_to(target)
        found: dict[int, float] = {}
        here = {source: 1.0}
        while here and target not in here:
            there: dict[int, float] = defaultdict(float)
            for switch, share in here.items():
                onward = list(self._nearer(switch, steps))
                width = sum(rate for _, _, rate in onward)
                for other, link, rate in onward:
                    found[link] = found.get(link, 0.0) + share * rate / width
                    there[other] += share * rate / width
            here = there
        return found

    def _nearer(self, switch: int, steps: Sequence[int | None]) -> Iterator[tuple[int, int, float]]:
        for other, link, rate in self._beside[switch]:
            if steps[other] == (steps[switch] or 0) - 1:
                yield other, link, rate
