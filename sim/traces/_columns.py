"""Reading a log of jobs by columns: numbered lines, typed columns, faults by line, rows left out by reason.

Every reader of this shelf goes the same way. The file becomes numbered lines, the lines become columns of
text, each column is checked and typed at once (polars, no loop over rows), rows that are no GPU job are
left out under a named reason, and ``finish`` makes the arrivals. Nothing else can leave the table, so
``rows == jobs.height + sum(left_out.values())`` holds for every trace.
"""

import csv
import difflib
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import polars as pl

from sim import arrivals, words
from sim.errors import SHOWN_FAULTS, Fault, TraceError

Fractions = Literal["refuse", "round_up"]
OnFault = Literal["refuse", "skip"]

CPU_ONLY = "CPU-only: asks for no GPU"
BLANK = "blank row"
MALFORMED = "malformed line"
NEVER_STARTED = "never started"
CANCELLED = "cancelled before it started"
RUNNING = "still running when the log was written, so its duration is not known"

WHOLE_ONLY = (
    "only whole GPUs can be held: fractions: round_up (in trace check: --fractions round_up) gives "
    "such a job whole ones and counts it"
)

EXACT = 2.0**53
"""Whole numbers up to here are exact in a float; a larger count of seconds or GPUs is no count."""

_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
_LONG_LINE = 65_536
_UNIT_SEPARATOR = "\x1f"
_ZONED = r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?) ?(Z|[+-]\d\d:?\d\d)?$"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may ask of a reader.

    ``fractions``: refuse jobs that ask for part of a GPU, or round up to the whole GPUs they then hold.
    ``on_fault``: refuse a file with malformed lines, or skip and count them.
    ``gpus_per_processor``: GPUs behind each processor of an SWF log, which knows no GPUs.
    """

    fractions: Fractions = "refuse"
    on_fault: OnFault = "refuse"
    gpus_per_processor: float | None = None


@dataclass(frozen=True, slots=True)
class TraceRead:
    """A log of jobs as read: the arrivals, and all that was left out or changed on the way.

    ``jobs`` follows arrivals.SCHEMA. ``recorded`` has one row for each of them, in the same order, with
    what the log says happened: ``line`` (in the file), ``start_s`` and ``end_s`` (on the clock of
    ``submit_s``) and ``status``, null where the log does not say. ``rows`` counts the rows of the file;
    each is in ``jobs`` or in ``left_out``. ``origin`` says in words which moment ``submit_s`` = 0 is.
    ``faults`` are the first of the malformed lines that were skipped.
    """

    path: str
    format: str
    jobs: pl.DataFrame
    recorded: pl.DataFrame
    rows: int
    left_out: Mapping[str, int]
    origin: str
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Format:
    """A log format: its name in words, how a file of it starts, and its reader."""

    title: str
    starts: str
    recognises: Callable[[str], bool]
    read: Callable[[Path, Options], TraceRead]


@dataclass(slots=True)
class Rows:
    """The rows of a file on their way to arrivals: columns, and what was found wrong or left out so far."""

    path: Path
    frame: pl.DataFrame
    total: int
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    found: list[pl.DataFrame] = field(default_factory=list)

    def leave_out(self, where: pl.Expr, reason: str) -> None:
        """Take rows out of the table and count them under a reason; a null condition keeps the row."""
        kept = self.frame.filter(~where.fill_null(value=False))
        self.count_out(self.frame.height - kept.height, reason)
        self.frame = kept

    def count_out(self, rows: int, reason: str) -> None:
        """Count rows that are already out of the table."""
        if rows:
            self.left_out[reason] = self.left_out.get(reason, 0) + rows

    def fault(self, where: pl.Expr, name: str, message: pl.Expr) -> None:
        """Record that the rows have something wrong in the named field."""
        found = self.frame.filter(where.fill_null(value=False)).select(
            pl.col("line"), pl.lit(name).alias("field"), message.cast(pl.String).alias("message")
        )
        if found.height:
            self.found.append(found)

    def note(self, rows: int, one: str, many: str, message: str) -> None:
        """Tell the user about a number of rows, if there are any: ``1 job asks for ...``, ``2 jobs ask``."""
        if rows:
            self.notes.append(f"{words.count(rows, one, many)} {message}")

    def count(self, where: pl.Expr) -> int:
        """How many rows meet a condition."""
        return int(self.frame.select(where.fill_null(value=False).sum()).item())

    def has(self, name: str) -> bool:
        """Whether the file has this column."""
        return name in self.frame.columns

    def number(
        self,
        name: str,
        *,
        unknown: Sequence[str] = (),
        whole: bool = False,
        least: float = 0.0,
        needed: bool = True,
    ) -> None:
        """Make a column of text one of numbers; ``unknown`` texts, and empty ones if not needed, are null."""
        text = pl.col(name).str.strip_chars().fill_null("")
        value = text.cast(pl.Float64, strict=False)
        empty = text == ""
        known = ~(empty | text.is_in(list(unknown)))
        shown = pl.col(name).str.strip_chars().str.slice(0, 40)
        if needed:
            self.fault(empty, name, pl.lit("is empty; a number is needed"))
        self.fault(known & value.is_null(), name, pl.format('"{}" is not a number', shown))
        self.fault(known & ~value.is_finite(), name, pl.format('"{}" is not a finite number', shown))
        self.fault(known & (value < least), name, pl.format('"{}" is {}', shown, pl.lit(_below(least))))
        self.fault(known & value.is_finite() & (value > EXACT), name, pl.format('"{}" is too large', shown))
        if whole:
            self.fault(known & (value % 1 != 0), name, pl.format('"{}" is not a whole number', shown))
        good = known & value.is_finite() & value.is_between(least, EXACT)
        self.frame = self.frame.with_columns(pl.when(good).then(value).alias(name))

    def moment(self, name: str, *, unknown: Sequence[str] = (), needed: bool = True) -> None:
        """Make a column of wall times one of seconds since 1970.

        They are written 2017-10-09 07:01:55, with a T or a blank, with or without a time zone. A time
        without a zone is taken as it stands: the clock of the place where the log was written.
        """
        text = pl.col(name).str.strip_chars().fill_null("")
        parts = text.str.extract_groups(_ZONED).struct
        wall = pl.concat_str(parts.field("1"), pl.lit(" "), parts.field("2"))
        wall_us = wall.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).to_physical()
        value = wall_us / 1e6 - _offset_s(parts.field("3"))
        empty = text == ""
        known = ~(empty | text.is_in(list(unknown)))
        if needed:
            self.fault(~known, name, pl.lit("is empty; a time such as 2017-10-09 07:01:55 is needed"))
        message = pl.format('"{}" is not a time such as 2017-10-09 07:01:55', text.str.slice(0, 40))
        self.fault(known & value.is_null(), name, message)
        if needed:
            self._note_zones(name, parts.field("3"), known)
        self.frame = self.frame.with_columns(pl.when(known).then(value).alias(name))

    def _note_zones(self, name: str, zone: pl.Expr, known: pl.Expr) -> None:
        """Say what a missing time zone means, or that some lines have one and others do not."""
        without = self.count(known & zone.is_null())
        if without == self.frame.height and without:
            self.notes.append(
                f"{name} is local time without a zone: a change to or from summer time shifts jobs by an hour"
            )
        elif without and self.count(known & zone.is_not_null()):
            self.note(
                without,
                "row has",
                "rows have",
                f"a {name} without a time zone, others have one: taken as UTC",
            )

    def keep(self, **columns: pl.Expr) -> None:
        """Add columns made of others."""
        self.frame = self.frame.with_columns(**columns)

    def numbers(self, names: Iterable[str], *, unknown: Sequence[str] = ()) -> None:
        """Type the optional columns of numbers that the file has."""
        for name in names:
            if self.has(name):
                self.number(name, unknown=unknown, needed=False)


def _below(least: float) -> str:
    """What is wrong with a number under its minimum."""
    return "negative" if least == 0 else f"less than {least:g}"


def _offset_s(zone: pl.Expr) -> pl.Expr:
    """Seconds that a zone such as +08:00 is ahead of UTC; 0 for Z and for none."""
    digits = zone.str.replace_all(r"\D", "")
    hours, minutes = digits.str.slice(0, 2).cast(pl.Float64, strict=False), digits.str.slice(2, 2)
    ahead_s = hours * 3600 + minutes.cast(pl.Float64, strict=False) * 60
    return (pl.when(zone.str.starts_with("-")).then(-ahead_s).otherwise(ahead_s)).fill_null(0.0)


def refuse(path: Path, message: str, *, line: int | None = None, name: str = "") -> TraceError:
    """The error for a file that cannot be used for one reason."""
    return TraceError(str(path), [Fault(line, name, message)], 1)


def read_text(path: Path) -> str:
    """The text of a file, unpacked if it is gzipped; a TraceError says why it cannot be read."""
    content = _unpacked(path, _read_bytes(path))
    if content.startswith((_ZIP, _PARQUET)):
        raise refuse(path, "is a spreadsheet, zip or Parquet file; save it as plain text (CSV)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refuse(path, "is not UTF-8 text; save it as UTF-8", line=line) from None
    if "\0" in text:
        raise refuse(path, "is not text (it holds zero bytes); save it as UTF-8", line=1)
    if not text.strip():
        raise refuse(path, "is empty: it has no jobs")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def first_line(path: Path) -> str:
    """The first line that is neither blank nor a comment (#), without reading all of a large file."""
    try:
        for line in _lines(path):
            if line.strip() and not line.lstrip().startswith("#") and "\0" not in line and line[:2] != "PK":
                return line.rstrip("\n")
    except (OSError, EOFError, zlib.error):
        pass  # read_text says what is wrong with the file
    read_text(path)
    raise refuse(path, "is empty: it has no header and no jobs")


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, long ones in pieces, gzipped or not."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", errors="replace") as lines:
        yield from iter(lambda: lines.readline(_LONG_LINE), "")


def _read_bytes(path: Path) -> bytes:
    """The bytes of a file that can be opened."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise refuse(path, "does not exist") from None
    except IsADirectoryError:
        raise refuse(path, "is a folder; name the file of jobs in it") from None
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror}") from None


def _unpacked(path: Path, content: bytes) -> bytes:
    """The content without its gzip wrapping, known by its first bytes and not by the name."""
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise refuse(path, "is a damaged or cut gzip file; copy it again") from None


def numbered_lines(text: str) -> pl.DataFrame:
    """One row for each line: ``line`` (from 1) and ``text``."""
    lines = pl.Series("text", [text.removesuffix("\n")]).str.split("\n").explode()
    return lines.to_frame().with_row_index("line", offset=1)


def read_table(
    path: Path, *, required: Sequence[str], optional: Sequence[str] = (), separator: str = ","
) -> Rows:
    """The rows of a file with a header; comment lines (#) may stand above it."""
    lines = numbered_lines(read_text(path))
    above = lines.filter(~pl.col("text").str.contains(r"^\s*(#.*)?$"))
    if above.is_empty():
        raise refuse(path, "is empty: it has no header and no jobs")
    header_line = int(above["line"][0])
    names = header_names(str(above["text"][0]), separator)
    _check_header(path, header_line, names, required, optional)
    unused = [name for name in names if name not in {*required, *optional}]
    fields = [f"unused {place}" if name in unused else name for place, name in enumerate(names)]
    rows = split(path, lines.filter(pl.col("line") > header_line), fields, separator)
    if any(unused):
        rows.notes.append(f"columns not used: {', '.join(filter(None, unused))}")
    rows.frame = rows.frame.drop([name for name in fields if name.startswith("unused ")])
    return rows


def header_names(header: str, separator: str) -> list[str]:
    """The column names of a header line, in lower case."""
    return [name.strip().strip('"').strip().lower() for name in header.split(separator)]


def _check_header(
    path: Path, line: int, names: Sequence[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    """Refuse a header that lacks a column or has one twice; says which of its names is nearest."""
    faults = [
        Fault(line, name, "column appears twice") for name in (*required, *optional) if names.count(name) > 1
    ]
    spare = [name for name in names if name not in required and name not in optional]
    for name in required:
        if name not in names:
            near = difflib.get_close_matches(name, spare, n=1, cutoff=0.5)
            hint = f'; is it "{near[0]}"?' if near else f"; the file has {', '.join(names)}"
            faults.append(Fault(line, name, f"column is missing{hint}"))
    if faults:
        raise TraceError(str(path), faults, len(faults))


def split(path: Path, lines: pl.DataFrame, names: Sequence[str], separator: str) -> Rows:
    """Lines into columns of text; blank lines are left out, a wrong number of fields is a fault."""
    rows = Rows(path, lines, lines.height)
    rows.leave_out(pl.col("text").str.strip_chars() == "", BLANK)
    if rows.frame.is_empty():
        raise refuse(path, "has a header but no jobs")
    rows.keep(text=pl.lit(_unquoted(rows.frame["text"], separator)))
    fields = pl.col("text").str.count_matches(_UNIT_SEPARATOR, literal=True) + 1
    ragged = fields != len(names)
    rows.fault(ragged, "", pl.format(f"has {{}} fields where {len(names)} are expected", fields))
    rows.leave_out(ragged, MALFORMED)
    cells = rows.frame["text"].str.split_exact(_UNIT_SEPARATOR, len(names) - 1)
    columns = cells.struct.rename_fields(list(names)).struct.unnest()
    rows.frame = pl.concat([rows.frame.select("line"), columns], how="horizontal")
    return rows


def _unquoted(text: pl.Series, separator: str) -> pl.Series:
    """The lines with their separators made unmistakable; only lines with a quote take the slow way."""
    plain = text.str.replace_all(separator, _UNIT_SEPARATOR, literal=True)
    quoted = text.str.contains('"', literal=True)
    if separator != "," or not quoted.any():
        return plain
    return pl.Series(
        "text",
        [
            _UNIT_SEPARATOR.join(next(csv.reader([line], delimiter=separator))) if is_quoted else simple
            for line, is_quoted, simple in zip(text, quoted, plain, strict=True)
        ],
    )


def finish(
    rows: Rows,
    options: Options,
    *,
    format_name: str,
    origin: Callable[[float], str],
    origin_s: float | None = None,
) -> TraceRead:
    """The arrivals, once every column is typed and all that is no GPU job has been left out.

    Needs the columns job_id, submit (s, on the log's clock), duration_s and gpu_fraction; takes those of
    arrivals.SCHEMA, start, end and status where they are there. ``submit_s`` = 0 is ``origin_s`` on the log's
    clock, by default the earliest submission of the jobs that are kept.
    """
    faults = settle(rows, options)
    if rows.frame.is_empty():
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in rows.left_out.items())
        raise refuse(rows.path, f"no job is left of {words.count(rows.total, 'row')}: {reasons}")
    _whole_gpus(rows, options)
    _note_order(rows)
    _tell_ids_apart(rows)
    zero_s = float(rows.frame["submit"].min()) if origin_s is None else origin_s  # type: ignore[arg-type]
    ordered = rows.frame.sort("submit", maintain_order=True)
    jobs = _arrivals(ordered, zero_s)
    return TraceRead(
        path=str(rows.path),
        format=format_name,
        jobs=jobs,
        recorded=_recorded(ordered, zero_s),
        rows=rows.total,
        left_out=MappingProxyType(dict(rows.left_out)),
        origin=origin(zero_s),
        notes=tuple(rows.notes),
        faults=faults,
    )


def settle(rows: Rows, options: Options) -> tuple[Fault, ...]:
    """Refuse the file for its malformed lines, or leave them out; one fault is told for each line."""
    if not rows.found:
        return ()
    faults = pl.concat(rows.found).unique("line", keep="first", maintain_order=True).sort("line")
    first = tuple(Fault(*row) for row in faults.head(SHOWN_FAULTS).iter_rows())
    if options.on_fault == "refuse":
        raise TraceError(str(rows.path), first, faults.height)
    rows.leave_out(pl.col("line").is_in(faults["line"].implode()), MALFORMED)
    rows.found.clear()
    return first


def _whole_gpus(rows: Rows, options: Options) -> None:
    """Add ``gpus``, the whole GPUs a job holds; fractions are refused or rounded up, as the user asked."""
    if not rows.has("gpus"):
        rows.keep(gpus=pl.col("gpu_fraction").ceil().cast(pl.Int64))
    partial = rows.frame.filter(pl.col("gpus") != pl.col("gpu_fraction"))
    if partial.is_empty():
        return
    if options.fractions == "refuse":
        first = partial.row(0, named=True)
        of_all = f"of {rows.frame.height:,} jobs"
        ask = words.count(partial.height, f"{of_all} asks", f"{of_all} ask")
        message = f"{ask} for part of a GPU (job {first['job_id']}: {first['gpu_fraction']:g}); {WHOLE_ONLY}"
        raise refuse(rows.path, message, line=first["line"], name="gpus")
    asked_h = float((partial["gpu_fraction"] * partial["duration_s"]).sum()) / 3600
    held_h = float((partial["gpus"] * partial["duration_s"]).sum()) / 3600
    rows.note(
        partial.height,
        "job asks for part of a GPU and was",
        "jobs ask for part of a GPU and were",
        f"rounded up to whole ones: {words.gpu_hours(asked_h)} became {words.gpu_hours(held_h)}",
    )


def _note_order(rows: Rows) -> None:
    """Say how far the file is from the order of submission."""
    earlier = rows.count(pl.col("submit") < pl.col("submit").shift(1))
    rows.note(
        earlier,
        f"of {rows.frame.height:,} jobs stands",
        f"of {rows.frame.height:,} jobs stand",
        "below one submitted later: sorted by submission, file order breaks ties",
    )


def _tell_ids_apart(rows: Rows) -> None:
    """Number the second and later jobs of one id, because results are looked up by id."""
    if rows.frame["job_id"].is_unique().all():
        return
    place = pl.col("job_id").cum_count().over("job_id")
    rows.note(
        rows.count(place > 1),
        "job repeats",
        "jobs repeat",
        "the id of another: called id#2, id#3 and so on, in file order",
    )
    rows.keep(job_id=pl.when(place > 1).then(pl.format("{}#{}", "job_id", place)).otherwise("job_id"))


def _arrivals(ordered: pl.DataFrame, zero_s: float) -> pl.DataFrame:
    """The arrivals table; times are cut to a microsecond, so decimals in the log stay those decimals."""
    given = {name: ordered[name] for name in arrivals.SCHEMA if name in ordered.columns}
    return arrivals.table(**{**given, "submit_s": (ordered["submit"] - zero_s).round(6)})


def _recorded(ordered: pl.DataFrame, zero_s: float) -> pl.DataFrame:
    """What the log says of each job beside what it asked for, on the clock of submit_s."""
    empty = pl.lit(None)
    names = ordered.columns
    return ordered.select(
        pl.col("line").cast(pl.Int64),
        ((pl.col("start") if "start" in names else empty.cast(pl.Float64)) - zero_s)
        .round(6)
        .alias("start_s"),
        ((pl.col("end") if "end" in names else empty.cast(pl.Float64)) - zero_s).round(6).alias("end_s"),
        (pl.col("status") if "status" in names else empty.cast(pl.String)).alias("status"),
    )


def wall_clock(zero_s: float) -> str:
    """The moment of submit_s = 0 for logs that tell wall time: 2017-10-09 07:01:55.

    >>> wall_clock(0.0)
    'the earliest submission, 1970-01-01 00:00:00 on the clock of the log'
    """
    moment = pl.Series([int(zero_s * 1e6)]).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M:%S")[0]
    return f"the earliest submission, {moment} on the clock of the log"


def utc_clock(zero_s: float) -> str:
    """The moment of submit_s = 0 for logs that tell time zones."""
    return wall_clock(zero_s).replace("on the clock of the log", "UTC")
