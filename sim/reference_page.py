"""The reference of a file format as a Markdown page, generated from its JSON Schema.

One section per group of fields: what it is, then each field with its type, default and meaning. Nothing is
written here that is not in the models, so the page cannot be out of date.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sim import units

Schema = Mapping[str, Any]

_DIMENSIONS = {
    "s": "time",
    "byte": "size",
    "byte/s": "data rate",
    "1/s": "rate",
    "W": "power",
    "flop/s": "compute rate",
    "gpu_s": "GPU time",
    "fraction": "fraction",
}
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "nothing",
    "object": "fields",
}
_LIMITS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def render(schema: Schema) -> str:
    """The page: the top of the file first, then every group of fields in the order in which it is met."""
    groups = _reached(schema)
    sections = [_section(schema["title"], schema, schema), *(_section(n, groups[n], schema) for n in groups)]
    return "\n".join(
        [
            "# Scenario files",
            "",
            "Generated from the models of `sim/scenario.py`; a test fails when it is out of date.",
            "",
            "A scenario is one YAML 1.2 file. Quantities are text with a unit:",
            "",
            *_unit_table(),
            "",
            "A field without a default must be given.",
            "",
            *sections,
        ]
    )


def _unit_table() -> Iterator[str]:
    yield "| quantity | written, for example | units |"
    yield "|---|---|---|"
    for name, called in _DIMENSIONS.items():
        kind = units.DIMENSIONS[name]
        written = ", ".join(f"`{unit}`" for unit in kind.written if unit) or "none, or `%`"
        yield f"| {called} | {', '.join(f'`{example}`' for example in kind.examples)} | {written} |"


def _reached(schema: Schema) -> dict[str, Schema]:
    """Groups of fields by name, in the order in which a reader meets them from the top."""
    groups: dict[str, Schema] = {}
    waiting = list(_references(schema.get("properties", {})))
    while waiting:
        name = waiting.pop(0)
        if name not in groups:
            groups[name] = schema["$defs"][name]
            waiting += _references(groups[name].get("properties", {}))
    return groups


def _references(tree: Any) -> Iterator[str]:  # noqa: ANN401 - a JSON tree
    if isinstance(tree, list):
        for item in tree:
            yield from _references(item)
    elif isinstance(tree, dict):
        if isinstance(tree.get("$ref"), str):
            yield tree["$ref"].rpartition("/")[2]
        for key, item in tree.items():
            if key != "discriminator":
                yield from _references(item)


def _section(name: str, group: Schema, schema: Schema) -> str:
    lines = [f"## {_heading(name, group)}", "", _paragraph(group.get("description", "")), ""]
    fields = group.get("properties", {})
    if fields:
        lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
        required = group.get("required", [])
        lines += [_row(field, about, schema, required=field in required) for field, about in fields.items()]
        lines.append("")
    return "\n".join(lines)


def _heading(name: str, group: Schema) -> str:
    """The name of a group, with its kind where it is one of several."""
    kind = group.get("properties", {}).get("kind", {}).get("const")
    return f"{name} (`kind: {kind}`)" if kind else name


def _paragraph(text: str) -> str:
    """A docstring without the line breaks inside its paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _row(name: str, about: Schema, schema: Schema, *, required: bool) -> str:
    default = "" if required else _default(about)
    meaning = str(about.get("description", ""))
    if name == "kind" and "const" in about:
        meaning = meaning or "chooses this one"
    cells = (f"`{name}`", _type(about, schema), default, meaning)
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |"


def _default(about: Schema) -> str:
    if "x-default" in about:
        return f"`{about['x-default']}`"
    default = about.get("default")
    if default is None:
        return "none" if "default" in about else ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _type(about: Schema, schema: Schema) -> str:
    """The type of a field in words, with its limits and links to the groups it may hold."""
    if "$ref" in about:
        return _link(about["$ref"], schema)
    for choice in ("anyOf", "oneOf"):
        if choice in about:
            kinds = [_type(option, schema) for option in about[choice] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "const" in about:
        return f"`{about['const']}`"
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    if "x-dimension" in about:
        return _DIMENSIONS[about["x-dimension"]]
    if about.get("type") == "array":
        inner = about.get("items") or (about.get("prefixItems") or [{}])[0]
        return f"list of {_type(inner, schema)}"
    kind = about.get("type", "any")
    words = _TYPES.get(kind, kind) if isinstance(kind, str) else " or ".join(_TYPES[each] for each in kind)
    limits = [f"{sign} {about[key]:,}" for key, sign in _LIMITS if key in about]
    return " ".join([words, *limits[:1]]) if len(limits) < 2 else f"{words} {' and '.join(limits)}"  # noqa: PLR2004


def _link(reference: str, schema: Schema) -> str:
    """A link to the section of a group, as GitHub makes anchors from headings."""
    name = reference.rpartition("/")[2]
    heading = _heading(name, schema["$defs"][name]).lower()
    anchor = "".join(c if c.isalnum() or c in "_-" else "-" if c == " " else "" for c in heading)
    return f"[{name}](#{anchor})"
