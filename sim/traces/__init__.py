"""Readers for logs of jobs that really ran: one file adds one format, and FORMATS lists it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from sim.errors import PlanError
from sim.traces import acme, helios, own_csv, pai, philly, slurm, swf
from sim.traces._columns import Format, Fractions, OnFault, Options, TraceRead, first_line, refuse

__all__ = ["FORMATS", "Format", "Fractions", "OnFault", "TraceRead", "guess", "read"]

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "csv": own_csv.FORMAT,
        "philly": philly.FORMAT,
        "helios": helios.FORMAT,
        "acme": acme.FORMAT,
        "pai": pai.FORMAT,
        "swf": swf.FORMAT,
        "slurm": slurm.FORMAT,
    }
)


def read(
    path: Path,
    format_name: str | None = None,
    *,
    fractions: Fractions = "refuse",
    on_fault: OnFault = "refuse",
    gpus_per_processor: float | None = None,
) -> TraceRead:
    """The jobs of a log, plain or gzipped; its format is guessed from its first line when it is not named.

    Raises TraceError with the malformed lines (the first ten, the rest counted), unless ``on_fault`` is
    "skip", which leaves them out and counts them.
    """
    if format_name is None:
        format_name = guess(path)
    elif format_name not in FORMATS:
        raise PlanError(f'"{format_name}" is not a trace format; choose {", ".join(FORMATS)}')
    return FORMATS[format_name].read(path, Options(fractions, on_fault, gpus_per_processor))


def guess(path: Path) -> str:
    """The name of the one format that a file starts like.

    Raises TraceError, which lists the formats, if none or several do.
    """
    if path.is_dir():
        if pai.is_folder(path):
            return "pai"
        raise refuse(path, "is a folder without the PAI job and task tables; name the file of jobs in it")
    start = first_line(path)
    names = [name for name, trace_format in FORMATS.items() if trace_format.recognises(start)]
    if len(names) == 1:
        return names[0]
    found = f"could be {' or '.join(names)}" if names else "is of no known format"
    raise refuse(
        path,
        f'"{start[:80]}" {found}; name the format, or write the jobs as own CSV; there are\n{_listed()}',
        line=1,
    )


def _listed() -> str:
    """The formats, and how a file of each starts."""
    return "\n".join(
        f"  {name}: {trace_format.title}, {trace_format.starts}" for name, trace_format in FORMATS.items()
    )
