"""How the commands speak: answers on stdout, for people or as JSON, and talk on stderr.

A mistake of the user's is told in its own words and ends with exit code 2. An interrupt ends with 130, a
reader who left (as `head` does) with 141 and a signal to stop (as batch systems send) with 143, which is what
a shell expects of a program that these stop.
"""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim.errors import PlanError

if TYPE_CHECKING:
    from rich.console import Console

MISSED, USER_ERROR, INTERRUPTED, READER_LEFT, TOLD_TO_STOP = 1, 2, 130, 141, 143

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


class Commands(click.Group):
    """The commands of dcplan; a mistake of the user's, an interrupt or a closed pipe is no traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as click's own
        """Run as the whole program."""
        if sys.stdout is None:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole program
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            _drop_output()
            say(f"the output cannot be written: {error.strerror}")
            sys.exit(USER_ERROR)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the command returns
        """Run the command that was asked for."""
        try:
            with _stopped_by_signal(ctx):
                return super().invoke(ctx)
        except PlanError as error:
            say(str(error))
            ctx.exit(USER_ERROR)
        except KeyboardInterrupt:
            say(f"\nInterrupted; {_what_stays(ctx)}.")
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            _drop_output()
            ctx.exit(READER_LEFT)


@contextmanager
def _stopped_by_signal(ctx: click.Context) -> Iterator[None]:
    """A signal to stop unwinds what is going on, so that nothing half written stays."""

    def stop(*_: object) -> None:
        say(f"Stopped; {_what_stays(ctx)}.")
        raise SystemExit(TOLD_TO_STOP)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def when_stopped(tell: Callable[[], str]) -> None:
    """What a command says of its results, instead of "nothing was kept", when it is stopped half-way."""
    click.get_current_context().meta[__name__] = tell


def _what_stays(ctx: click.Context) -> str:
    tell: Callable[[], str] = ctx.meta.get(__name__, lambda: "nothing was kept")
    return tell()


def say(message: str) -> None:
    """Talk to the user without getting into the data."""
    with suppress(OSError):
        click.echo(message, err=True)


@contextmanager
def stdout() -> Iterator[Console]:
    """Where answers go, in colour on a terminal.

    Raises PlanError when they cannot be written; a reader who has left is a BrokenPipeError.
    """
    from rich.console import Console  # noqa: PLC0415 - not for --help

    try:
        yield Console(file=sys.stdout, highlight=False)
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise BrokenPipeError from error
        _drop_output()
        raise PlanError(f"the output cannot be written: {error.strerror}") from error


def write(text: str) -> None:
    """Print a text as it is, with one line break at its end."""
    with stdout():
        sys.stdout.write(text.rstrip("\n") + "\n")


def write_json(value: object) -> None:
    """Print a value as JSON."""
    write(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def plain(value: object) -> Any:  # noqa: ANN401 - a JSON tree
    """A value as JSON knows it: records and tables as objects, what is not a finite number as null.

    >>> plain({"occupancy": float("nan"), "causes": ("order",)})
    {'occupancy': None, 'causes': ['order']}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "to_dicts"):
        return plain(value.to_dicts())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; PlanError if that cannot be done."""
    if not path.name:
        raise PlanError("the file to write has no name")
    beside = path.with_name(f".{path.name}.writing")
    try:
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise PlanError(f"{path} cannot be written: {error.strerror}") from error
    say(f"Written: {path}")


@contextmanager
def progress(what: str) -> Iterator[Progress | None]:
    """A bar on stderr while something long goes on; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - not for --help
    from rich.progress import Progress as Bar  # noqa: PLC0415 - as above

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _drop_output() -> None:
    """Forget what could not be written, so that the end of the program does not try it again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
