"""A YAML file as plain values that know their line, and settings from the command line laid over them.

The text becomes YAML nodes first, because nodes know where they stand; then plain values: mappings, lists,
text, numbers, true, false and nothing. YAML is 1.2: ``no`` is text and ``1e3`` is a number. Repeated fields
are faults.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sim.errors import Fault, PlanError, ScenarioError, hint

Location: TypeAlias = tuple[str | int, ...]
"""The way to a value: field names and positions in lists, from the top of the file."""

LARGEST_NODES = 200_000
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
_NUMBERS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))


def dotted(location: Location) -> str:
    """A location as users write it: ``workloads.0.gpus``."""
    return ".".join(str(step) for step in location)


@dataclass(slots=True)
class Document:
    """Values of a file, the line of each, and which of them a setting from the command line has replaced."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)
    settings: dict[Location, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, location: Location, message: str) -> Fault:
        """A fault at a location: on its line or, if it was set on the command line, at that setting."""
        for size in range(len(location), 0, -1):
            setting = self.settings.get(location[:size])
            if setting is not None:
                inner = [dotted(location)] if size < len(location) else []
                return Fault(None, ": ".join([f"--set {setting}", *inner]), message)
        line = next(
            self.lines[location[:size]]
            for size in range(len(location), -1, -1)
            if location[:size] in self.lines
        )
        return Fault(line, dotted(location), message)

    def at(self, location: Location) -> Any:  # noqa: ANN401 - whatever the file holds
        """The value at a location, None where there is none."""
        value: Any = self.values
        for step in location:
            inside = isinstance(value, dict) if isinstance(step, str) else isinstance(value, list)
            if not inside or not (step in value if isinstance(step, str) else step < len(value)):
                return None
            value = value[step]
        return value


def read(path: Path) -> Document:
    """The values of a YAML file; faults of single fields are kept in the document.

    Raises PlanError where there are no fields at all: no file, no text, no YAML.
    """
    text = _text(path)
    node = _compose(text, str(path))
    if node is None:
        raise ScenarioError(str(path), [Fault(1, "", "the file is empty")])
    if not isinstance(node, MappingNode):
        found = "a list" if isinstance(node, SequenceNode) else "a single value"
        raise ScenarioError(
            str(path), [Fault(1, "", f"the file must hold fields (name: value), not {found}")]
        )
    document = Document(path, lines={(): 1})
    document.values = _Walk(document).value(node, ())
    return document


def override(document: Document, setting: str) -> None:
    """Lay ``field.inner.0=value`` over the document; the value is YAML, and faults join the document's."""
    name, equals, text = setting.partition("=")
    steps = name.strip().split(".")
    if not equals or not all(steps):
        document.faults.append(Fault(None, f"--set {setting}", "write it as field=value, for example seed=7"))
        return
    try:
        node = _compose(text, f"--set {setting}")
    except ScenarioError as error:
        document.faults.append(Fault(None, f"--set {setting}", error.faults[0].message))
        return
    inner = Document(document.path, lines={(): 1})
    value = None if node is None else _Walk(inner).value(node, ())
    document.faults += [Fault(None, f"--set {setting}", fault.message) for fault in inner.faults]
    location = _place(document, steps, value)
    if isinstance(location, str):
        document.faults.append(Fault(None, f"--set {setting}", location))
    else:
        document.settings[location] = setting


def _place(document: Document, steps: Sequence[str], value: object) -> Location | str:
    """Put a value where the steps lead, making fields on the way; the reason as text if they lead nowhere."""
    holder: Any = document.values
    location: Location = ()
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        if isinstance(holder, list):
            if not step.isdecimal() or int(step) >= len(holder):
                count = f"{len(holder)} entries" if len(holder) != 1 else "1 entry"
                return f'{dotted(location)} has {count}, counted from 0: "{step}" is none of them'
            key: str | int = int(step)
        elif isinstance(holder, dict):
            key = step
            if not last and holder.get(key) is None:
                holder[key] = {}
        else:
            return f'{dotted(location)} is "{holder}" and has no field "{step}"'
        location = (*location, key)
        if last:
            holder[key] = value
        holder = holder[key]
    return location


def _text(path: Path) -> str:
    """The text of a file; a file that cannot be read is told in one sentence."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        siblings = [file.name for file in _siblings(path)]
        remedy = f"; {hint(path.name, siblings)}" if siblings else ""
        raise PlanError(f"{path}: there is no such file{remedy}") from None
    except IsADirectoryError:
        raise PlanError(f"{path}: this is a folder; name a scenario file in it") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"the file is not UTF-8 text: byte 0x{content[error.start]:02x}"
        raise ScenarioError(str(path), [Fault(line, "", message)]) from None


def _siblings(path: Path) -> Iterator[Path]:
    if path.parent.is_dir():
        yield from sorted(file for file in path.parent.iterdir() if file.suffix in {".yaml", ".yml"})


def _compose(text: str, name: str) -> Node | None:
    """The one YAML document in a text, as nodes; None if there is nothing but comments."""
    try:
        return YAML(typ="safe", pure=True).compose(text)  # type: ignore[no-any-return]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        parts = [part for part in (error.problem, error.context) if part]
        problem = ", ".join(parts[::-1]) if parts[0].startswith("but ") else " ".join(parts)
        raise ScenarioError(name, [Fault(mark.line + 1 if mark else 1, "", f"not YAML: {problem}")]) from None
    except RecursionError:
        raise ScenarioError(name, [Fault(1, "", "not usable: nested too deeply")]) from None
    except YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        raise ScenarioError(name, [Fault(line, "", f"not YAML: {str(error).splitlines()[0]}")]) from None


class _Walk:
    """From nodes to plain values, noting lines and faults in a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.constructor = YAML(typ="safe", pure=True).constructor
        self.open: list[int] = []
        self.seen = 0

    def value(self, node: Node, location: Location) -> Any:  # noqa: ANN401 - whatever the file holds
        """The plain value of a node and of all below it."""
        self.seen += 1
        if self.seen > LARGEST_NODES:
            raise ScenarioError(
                str(self.document.path), [Fault(1, "", f"more than {LARGEST_NODES:,} values")]
            )
        if id(node) in self.open:
            self._note(node, location, "an alias must not refer to what it is part of")
            return None
        if node.tag not in _PLAIN_TAGS:
            self._note(node, location, f'the tag "{node.tag}" is not allowed; write a plain value')
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        self.open.append(id(node))
        value = self._mapping(node, location) if isinstance(node, MappingNode) else self._list(node, location)
        self.open.pop()
        return value

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                self._note(key, location, "the name of a field must be text")
                continue
            name = str(key.value)
            here = (*location, name)
            if name in values:
                self._note(
                    key, here, f"repeated field; it stands on line {self.document.lines[here]} already"
                )
                continue
            self.document.lines[here] = key.start_mark.line + 1
            values[name] = self.value(child, here)
        return values

    def _list(self, node: Node, location: Location) -> list[Any]:
        values = []
        for position, child in enumerate(node.value):
            here = (*location, position)
            self.document.lines[here] = child.start_mark.line + 1
            values.append(self.value(child, here))
        return values

    def _scalar(self, node: ScalarNode) -> object:
        """Text, number, true, false or nothing; dates and numbers too long for one stay text."""
        if node.tag not in _NUMBERS:
            return str(node.value)
        try:
            value: object = self.constructor.construct_object(node)
        except ValueError:
            return str(node.value)
        return str(node.value) if isinstance(value, int) and not math.isfinite(_as_float(value)) else value

    def _note(self, node: Node, location: Location, message: str) -> None:
        self.document.faults.append(Fault(node.start_mark.line + 1, dotted(location), message))


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
