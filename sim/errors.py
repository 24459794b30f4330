"""What a user can get wrong, and how it is told.

    PlanError                 a mistake of the user's: one clear message, exit code 2, no traceback
    ├── UnitError             a text that is not a quantity of the kind wanted (units.py)
    ├── ScenarioError         the scenario file cannot be used
    ├── TraceError            the trace of jobs cannot be used
    └── RunFolderError        the folder of results cannot be written or read

A mistake of ours is an AssertionError or a plain crash, with its traceback.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_FAULTS = 10


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
