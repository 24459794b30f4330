"""What pydantic found wrong, in the words of the field: short, what was written and what was expected."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sim.document import Document, Location
from sim.errors import Fault, hint, listed, shown

NOUNS = {
    "workloads": "a workload",
    "preset": "a preset",
    "order": "a queue order",
    "blocking": "a blocking rule",
    "placement": "a placement",
    "arrivals": "an arrival process",
    "gpus": "a distribution of GPUs",
    "duration": "a distribution of times",
    "components": "a distribution of times",
    "data": "a data set",
    "model": "a model",
    "optimiser": "an optimiser",
    "schedule": "a schedule",
    "start": "a start",
    "family": "a family of transformers",
    "front_end": "a front end",
    "norm": "a norm",
    "biases": "a matrix that can have biases",
}
"""What the kinds at a field are called, for "... is not a workload"."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a group of fields",
    "model_attributes_type": "a group of fields",
    "dict_type": "a group of fields",
}
_SIMPLE = {*_EXPECTED, "literal_error"}
_LIMITS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must not be less than"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must not be more than"),
}
_REMEDIES = {
    "a list": '; start each entry with "- "',
    "a group of fields": "; write them below it, indented",
    "text": "; write it in quotes",
}


def faults(errors: Sequence[ErrorDetails], document: Document, model: type[BaseModel]) -> list[Fault]:
    """One fault per place, on its line, for all that validation of the document as this model found wrong."""
    places: dict[Location, list[ErrorDetails]] = defaultdict(list)
    for error in errors:
        places[_clean(error, document)].append(error)
    return [
        document.fault(location, _message(location, found, document, model))
        for location, found in places.items()
        if not _is_only_an_untaken_choice(location, found, places, document)
    ]


def _clean(error: ErrorDetails, document: Document) -> Location:
    """The location without the marks that pydantic leaves for the members of a union."""
    location: Location = ()
    marked: Location | None = None
    for position, step in enumerate(error["loc"]):
        holder = document.at(location)
        if isinstance(holder, dict) and step == holder.get("kind") and marked != location:
            marked = location
            continue
        last = position == len(error["loc"]) - 1
        if isinstance(holder, dict) and isinstance(step, str):
            absent = last and error["type"] in {"missing", "extra_forbidden"}
            if absent or step in holder:
                location = (*location, step)
        elif isinstance(holder, list) and isinstance(step, int):
            location = (*location, step)
    return location


def _is_only_an_untaken_choice(
    location: Location, found: list[ErrorDetails], places: Mapping[Location, object], document: Document
) -> bool:
    """Whether this says no more than the faults inside: that no simple value, or nothing sound, is here."""
    deeper = any(len(other) > len(location) and other[: len(location)] == location for other in places)
    follows = all(error["type"] in {*_SIMPLE, "too_short"} for error in found)
    return deeper and follows and isinstance(document.at(location), dict | list)


def _message(
    location: Location, found: list[ErrorDetails], document: Document, model: type[BaseModel]
) -> str:
    if len(found) > 1 and all(
        error["type"] in _EXPECTED or error["type"] == "literal_error" for error in found
    ):
        wanted = [word for error in found for word in _wanted(error)]
        return f"{shown(found[0]['input'])} is not {listed(wanted)}"
    return _told(location, found[0], document, model)


def _wanted(error: ErrorDetails) -> list[str]:
    return [f'"{choice}"' for choice in _choices(error)] or [_EXPECTED[error["type"]]]


def _told(location: Location, error: ErrorDetails, document: Document, model: type[BaseModel]) -> str:
    """The message for one error."""
    kind = error["type"]
    value = shown(error["input"])
    if kind in {"extra_forbidden", "missing"}:
        return _told_of_field(location, kind, document, model)
    if kind in {"union_tag_not_found", "union_tag_invalid", "literal_error", "model_attributes_type"}:
        return _told_of_choice(location, error, document, model)
    if kind in _EXPECTED:
        expected = _EXPECTED[kind]
        if error["input"] is None:
            return f"has no value; give {expected}"
        return f"{value} is not {expected}{_REMEDIES.get(expected, '')}"
    if kind in _LIMITS:
        key, phrase = _LIMITS[kind]
        return f"{value} {phrase} {_number(error['ctx'][key])}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty"
    return f"{value}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _told_of_field(location: Location, kind: str, document: Document, model: type[BaseModel]) -> str:
    """A field that should not be there, or one that should."""
    if kind == "missing":
        return f"is missing{_description(model, location, document)}"
    names = field_names(model, location[:-1], document)
    remedy = hint(str(location[-1]), names) if names != ["kind"] else "this kind has no settings"
    return f"unknown field; {remedy}"


def _told_of_choice(
    location: Location, error: ErrorDetails, document: Document, model: type[BaseModel]
) -> str:
    """A kind or a word that is none of those allowed."""
    choices = _choices(error) or _kinds(models_at(model, location, document))
    if error["type"] == "union_tag_not_found":
        return f"needs a kind; {_choose('', choices)}"
    wrong = error["ctx"]["tag"] if error["type"] == "union_tag_invalid" else error["input"]
    if wrong is None:
        return f"has no value; {_choose('', choices)}"
    return f"{shown(wrong)} is not {_noun(location)}; {_choose(wrong, choices)}"


def _noun(location: Location) -> str:
    name = next((step for step in reversed(location) if isinstance(step, str)), "")
    return NOUNS.get(name, "a choice")


def _number(limit: float) -> str:
    return f"{limit:,.12g}"


def _choices(error: ErrorDetails) -> list[str]:
    """The names that were allowed, which pydantic gives in quotes."""
    context = error.get("ctx", {})
    return re.findall(r"'([^']*)'", str(context.get("expected_tags", context.get("expected", ""))))


def _kinds(models: Sequence[type[BaseModel]]) -> list[str]:
    """The kinds that the models are of."""
    return [kind for model in models if "kind" in model.model_fields for kind in _literals(model)]


def _literals(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field is not None else ()


def _choose(wrong: object, choices: Sequence[str]) -> str:
    """All choices, the one most like what was written first."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - needed only when something is wrong

    likeness = {choice: SequenceMatcher(None, str(wrong), choice).ratio() for choice in choices}
    best = max(choices, key=lambda choice: likeness[choice], default="")
    if best and likeness[best] > 0.6:  # noqa: PLR2004 - difflib's own measure of a close match
        return f'did you mean "{best}"? choose {listed(list(choices))}'
    return f"choose {listed(list(choices))}"


def field_names(model: type[BaseModel], location: Location, document: Document) -> list[str]:
    """The names of fields that may stand at a location, as users write them."""
    return [
        info.alias or name
        for part in models_at(model, location, document)
        for name, info in part.model_fields.items()
    ]


def _description(model: type[BaseModel], location: Location, document: Document) -> str:
    """What a missing field means, in brackets."""
    for part in models_at(model, location[:-1], document):
        for name, info in part.model_fields.items():
            if location[-1] in {name, info.alias} and info.description:
                return f" ({info.description})"
    return ""


def models_at(model: type[BaseModel], location: Location, document: Document) -> list[type[BaseModel]]:
    """The models that the value at a location may be, by the annotations of the fields on the way."""
    models = [model]
    for depth, step in enumerate(location, start=1):
        if isinstance(step, str):
            annotations = [
                info.annotation
                for part in models
                for name, info in part.model_fields.items()
                if step in {name, info.alias}
            ]
            models = [inner for annotation in annotations for inner in _models_in(annotation)]
        models = _of_kind(models, document.at(location[:depth]))
    return models


def _of_kind(models: list[type[BaseModel]], value: object) -> list[type[BaseModel]]:
    """Those of the models whose kind the value states, or all."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return [model for model in models if kind in _literals(model)] or models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - annotations have no common type
    """The models named anywhere in an annotation: in unions, lists and optional fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
