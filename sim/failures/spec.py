"""What a user says about failures: which components, how often, who repairs them and how long that takes."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from ruamel.yaml import YAML

from sim.distributions import TIMES, plain_is_fixed
from sim.errors import hint
from sim.parts import Fraction, Name, Part, PositiveSeconds, Seconds

Per = Literal["gpu", "node", "rack"]
Times = Annotated[Annotated[TIMES, Field(discriminator="kind")], BeforeValidator(plain_is_fixed)]
AT_ONCE: Times = plain_is_fixed(0.0)


class Component(Part):
    """One kind of thing that fails: a GPU, a network card, a switch, a power feed, or the software.

    A failure stops every job on the nodes that it takes. What is repaired in no time only interrupts.
    """

    name: Name = Field(description="how the report calls it")
    per: Per = Field("node", description="there is one for each gpu, node or rack")
    mean_time_between: PositiveSeconds = Field(description="mean time between failures of one of them")
    shape: Annotated[float, Field(gt=0, le=20)] = Field(
        1.0,
        description="of Weibull's law: 1 at random, below 1 early, above 1 by wear; anew after each repair",
    )
    takes: Literal["node", "rack"] | None = Field(
        None, description="what is lost with it; left out, its node, and for one of a rack the rack"
    )
    repair: Times = Field(
        {"kind": "fixed", "value": 0.0},
        validate_default=True,
        description="time that a technician works on it; left out, none: it is back at once",
    )

    @property
    def taken(self) -> Literal["node", "rack"]:
        """What is lost with it."""
        return self.takes or ("rack" if self.per == "rack" else "node")


class Lemons(Part):
    """Nodes that fail more often than others."""

    share: Annotated[Fraction, Field(gt=0, lt=1)] = Field(description="of all nodes")
    times: Annotated[float, Field(gt=1)] = Field(description="as often as others")
    cured: Fraction = Field(
        0.0, description="share of repairs that find what was wrong; the node then fails as others do"
    )
    out_after: Annotated[int, Field(ge=1)] | None = Field(
        None, description="failures of one node after which health checks take it out for good"
    )


class Maintenance(Part):
    """Nodes are taken out at regular times, a few at a time; jobs on them are stopped."""

    every: PositiveSeconds = Field(description="between the starts of two rounds")
    lasts: PositiveSeconds = Field(description="time for which the nodes are out")
    nodes: Annotated[int, Field(ge=1)] = Field(
        description="nodes of a round; the next round takes the next ones"
    )
    first: Seconds | None = Field(None, description="start of the first round; left out, after one interval")

    @model_validator(mode="after")
    def _rounds_end(self) -> Self:
        if self.lasts > self.every:
            raise ValueError("a round must end before the next: lasts is longer than every")
        return self


class Spares(Part):
    """Nodes of each pool that run nothing until another is out of service; then one takes its place.

    A node that comes back while a spare stands in for it stands by in its turn.
    """

    nodes: Annotated[int, Field(ge=1)] = Field(description="of each pool, the last of it to begin with")
    after: Seconds = Field(
        0.0, description="time from when a failure is noticed until the spare is in service"
    )


class Failures(Part):
    """What fails, how it is noticed, and who repairs it.

    Failures that were recorded can be replayed from a log instead (CSV: ``time_s,node,repair_s,component``).
    """

    preset: str | None = Field(None, description="components with published rates: llama3, rsc1 or rsc2")
    components: tuple[Component, ...] = Field((), description="what fails, besides those of the preset")
    log: Path | None = Field(None, description="a log of failures to replay; then nothing else fails")
    detection: Seconds = Field(
        0.0, description="time until a failure is noticed; jobs that it hit hang and hold their GPUs"
    )
    technicians: Annotated[int, Field(ge=1)] | None = Field(
        None, description="repairs at once, first come first served; left out, any number"
    )
    lemons: Lemons | None = Field(None, description="nodes that fail more often")
    maintenance: Maintenance | None = Field(None, description="planned outages")
    spares: Spares | None = Field(None, description="nodes that stand by; left out, all nodes run jobs")

    @field_validator("preset")
    @classmethod
    def _preset_is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in preset_names():
            raise ValueError(f'"{name}" is not a preset of failures; {hint(name, preset_names())}')
        return name

    @model_validator(mode="after")
    def _something_fails(self) -> Self:
        if self.log is not None and (self.preset or self.components or self.lemons):
            raise ValueError("a log says all that fails; leave out preset, components and lemons")
        if not (self.log or self.preset or self.components or self.maintenance):
            raise ValueError("nothing fails; give a preset, components, a log or maintenance")
        names = [component.name for component in self.all_components]
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None:
            raise ValueError(f'two components are called "{twice}"; names must differ')
        return self

    @property
    def all_components(self) -> tuple[Component, ...]:
        """Those of the preset and the user's own."""
        return (preset(self.preset) if self.preset else ()) + self.components

    def mean_time_between_s(self, gpus: int, nodes: int, racks: int) -> float:
        """Mean time between failures that hit a job of so many GPUs, on so many nodes in so many racks.

        Components of its nodes count with all their GPUs, which a failure takes with it. Lemons count by
        their share, as if none was cured yet. Infinite where nothing fails.
        """
        count = {"gpu": gpus, "node": nodes, "rack": racks}
        rate = sum(count[each.per] / each.mean_time_between for each in self.all_components)
        if self.lemons is not None:
            rate *= 1 + self.lemons.share * (self.lemons.times - 1)
        return 1 / rate if rate else math.inf


@cache
def preset_names() -> tuple[str, ...]:
    """Sets of components with published rates; reads no file."""
    folder = files("sim.catalog") / "failures"
    return tuple(
        sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    )


@cache
def preset(name: str) -> tuple[Component, ...]:
    """The components of a preset, whose file says where each rate is from."""
    written: Any = YAML(typ="safe", pure=True).load(
        (files("sim.catalog") / "failures" / f"{name}.yaml").read_text("utf-8")
    )
    return tuple(
        Component.model_validate(
            {key: value for key, value in each.items() if key != "source"}, context={"from_text": True}
        )
        for each in written["components"]
    )
