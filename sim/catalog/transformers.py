"""Transformers known by name, from a file of one's own, or from a ``config.json`` of Hugging Face.

One YAML file for each: the fields of ``sim.perf.transformer.Transformer``, where they are from, and the
number of parameters that was published, to check the description against.
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from sim import document, wording
from sim.catalog import hugging_face
from sim.catalog.hardware import Evidence, Source
from sim.errors import Fault, PlanError, ScenarioError, hint
from sim.parts import FROM_TEXT, Fraction
from sim.perf.transformer import Count, Positive, Transformer

FILES = frozenset((".yaml", ".yml", ".json"))
"""What the name of a file ends in, where a name of the catalog would do as well."""


class Published(Source):
    """Parameters as their makers or their files tell, and how near a count must come."""

    parameters: Positive
    active_parameters: Count = 0
    within: Fraction = Field(0.005, description="0 where every weight was counted; more where it was rounded")


class Description(Transformer):
    """A transformer with where it is from; in a file of one's own all of that may be left out."""

    source: str = ""
    evidence: Evidence | None = None
    checked: str = ""
    published: Published | None = None
    notes: str = ""


def transformer(name: str | Path, folder: Path = Path()) -> Transformer:
    """A transformer: a name of the catalog, a YAML file, or a ``config.json`` of Hugging Face.

    Relative files start at ``folder``. Raises PlanError with the nearest names or the faults of the file.
    """
    suffix = Path(name).suffix
    if suffix in FILES:
        return hugging_face.read(folder / name) if suffix == ".json" else read(folder / name)
    wanted = "-".join(str(name).lower().replace("_", " ").split())
    if wanted not in transformer_names():
        remedy = f"{hint(wanted, transformer_names())}, or name a file"
        raise PlanError(f'"{name}" is not a transformer of the catalog; {remedy}')
    return described(wanted)


def read(path: Path) -> Description:
    """The transformer in a YAML file."""
    found = document.read(path)
    faults: Iterable[Fault] = found.faults
    try:
        if not found.faults:
            return _described(found.values)
    except ValidationError as error:
        told = [one for one in error.errors() if one["type"] != hugging_face.FOLLOWS]
        faults = wording.faults(told, found, Description)
    raise ScenarioError(str(path), list(faults))


@cache
def transformer_names() -> tuple[str, ...]:
    """The transformers of the catalog, sorted; reads no file."""
    folder = files(__package__) / "transformers"
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir()))


@cache
def described(name: str) -> Description:
    """A transformer of the catalog by its name as it is spelled there, with its source."""
    text = (files(__package__) / "transformers" / f"{name}.yaml").read_text("utf-8")
    return _described(YAML(typ="safe", pure=True).load(text))


def _described(values: Any) -> Description:  # noqa: ANN401 - whatever the file holds
    return Description.model_validate(_frozen(values), strict=True, context=FROM_TEXT)


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever the file holds
    """Plain values with tuples for lists, as strict types want them."""
    if isinstance(value, dict):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
