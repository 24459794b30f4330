"""What a user can get wrong, and how it is told.

    PlanError                 a mistake of the user's: one clear message, exit code 2, no traceback
    ├── UnitError             a text that is not a quantity of the kind wanted (units.py)
    ├── ScenarioError         the scenario file cannot be used
    ├── TraceError            the trace of jobs cannot be used
    ├── ProfileError          the file of measured times cannot be used
    └── RunFolderError        the folder of results cannot be written or read

A mistake of ours is an AssertionError or a plain crash, with its traceback.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN_FAULTS = 10
LISTED_CHOICES = 12
LONGEST_SHOWN = 60


class PlanError(Exception):
    """A mistake of the user's; the message says where it is, what is wrong and how to put it right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file: its line (from 1, None if it is on no line), the field and the remedy."""

    line: int | None
    field: str
    message: str

    def located(self, path: str) -> str:
        """The fault as an editor understands it: ``path:line: field: message``.

        >>> Fault(4, "workloads.0.gpu", 'unknown field; did you mean "gpus"?').located("chat.yaml")
        'chat.yaml:4: workloads.0.gpu: unknown field; did you mean "gpus"?'
        """
        place = path if self.line is None else f"{path}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class ScenarioError(PlanError):
    """The scenario file cannot be used; lists every fault, not only the first."""

    def __init__(self, path: str, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(fault.located(path) for fault in faults))
        self.path = path
        self.faults = list(faults)


class ProfileError(PlanError):
    """The file of measured times cannot be used; lists every fault, not only the first."""

    def __init__(self, path: str, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(fault.located(path) for fault in faults))
        self.path = path
        self.faults = list(faults)


class TraceError(PlanError):
    """The trace of jobs cannot be used; shows the first ten faults and counts the rest.

    ``total`` counts all faults found; ``faults`` may hold only the first of them.
    """

    def __init__(self, path: str, faults: Sequence[Fault], total: int) -> None:
        shown = faults[:SHOWN_FAULTS]
        lines = [fault.located(path) for fault in shown]
        if total > len(shown):
            lines.append(f"... and {total - len(shown):,} more")
        super().__init__("\n".join(lines))
        self.path = path
        self.faults = list(faults)
        self.total = total


class RunFolderError(PlanError):
    """The folder of results exists already, is not one, or cannot be written."""


def hint(wrong: str, choices: Iterable[str]) -> str:
    """The remedy for a name that is not known: the nearest ones, or all when they are few and none is near.

    >>> hint("gpu", ["gpus", "nodes"]), hint("h100", ["a100-40gb", "h100-pcie", "h100-sxm5"])
    ('did you mean "gpus"?', 'did you mean "h100-pcie" or "h100-sxm5"?')
    >>> hint("zebra", ["fifo", "las"])
    'choose fifo or las'
    """
    names = [str(choice) for choice in choices]
    near = nearest(wrong, names)
    if near:
        quoted = [f'"{name}"' for name in near]
        return f"did you mean {listed(quoted)}?"
    if len(names) <= LISTED_CHOICES:
        return f"choose {listed(names)}" if names else "there is none"
    return f"choose one of {len(names)}, such as {listed(names[:3])}"


def nearest(wrong: str, names: Sequence[str]) -> list[str]:
    """Up to three names that may have been meant: a family of that name, spelled nearly so, or containing it.

    >>> nearest("a100", ["a10", "a100-pcie-40gb", "a100-sxm4-80gb"]), nearest("fifoo", ["fifo", "las"])
    (['a100-pcie-40gb', 'a100-sxm4-80gb'], ['fifo'])
    """
    from difflib import get_close_matches  # noqa: PLC0415 - needed only when something is wrong

    folded = {name.lower(): name for name in names}
    close = get_close_matches(wrong.lower(), folded, n=1, cutoff=0.7)
    family = [name for name in folded if name.startswith(f"{wrong.lower()}-")]
    inside = [name for name in folded if len(wrong) > 1 and wrong.lower() in name]
    found = family[:3] or close or inside[:3] or get_close_matches(wrong.lower(), folded, n=1)
    return [folded[name] for name in found]


def listed(words: Sequence[str]) -> str:
    """Words as a choice in a sentence.

    >>> listed(["fifo"]), listed(["fifo", "sjf", "las"])
    ('fifo', 'fifo, sjf or las')
    """
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def shown(value: object) -> str:
    """A value as it was written in a file, cut when it is long.

    >>> shown("3 GiB"), shown(-3.0), shown(True), shown(None), shown([1, 2])
    ('"3 GiB"', '-3.0', 'true', 'nothing', 'a list')
    """
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= LONGEST_SHOWN else f'"{value[: LONGEST_SHOWN - 3]}..."'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, dict | list | tuple):
        return "a group of fields" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else str(value)
