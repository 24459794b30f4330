"""Text with units at the door, SI floats inside: the only file that knows prefixes.

A quantity is a number and a unit: ``3 h``, ``80 GiB``, ``400 Gbit/s``, ``12 per h``, ``3250 GPU s``.
Upper and lower case matter, because they do in SI: GB is 10⁹ bytes, GiB is 2³⁰ bytes, Gbit (Gb) is 10⁹ bits.

Dimensions, named by their SI unit: ``s``, ``byte``, ``byte/s``, ``1/s``, ``W``, ``flop/s``, ``gpu_s``
(GPU time: GPUs held x seconds) and ``fraction`` (a bare number, or per cent).
Prefixes after the SI brochure (BIPM, 9th edition, 2019) and, for KiB and the like, IEC 80000-13.
"""

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from sim.errors import PlanError, shown

Scale = Mapping[str, Fraction]

_LARGEST = sys.float_info.max
_UNSIGNED = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
NUMBER = rf"[+-]?{_UNSIGNED}"
_QUANTITY = re.compile(rf"\s*({NUMBER})\s*(.*?)\s*")
_TIME_TERM = re.compile(rf"\s*({_UNSIGNED})\s*([A-Za-zµμ]+)")


class UnitError(PlanError, ValueError):
    """A text that is not a quantity of the dimension wanted; says how to write one."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """What can be measured: how the field calls it, its units, and those used to write it."""

    noun: str
    base: str
    scale: Scale
    written: tuple[str, ...]
    examples: tuple[str, str]


def _spelled(factors: Mapping[str, Fraction | int]) -> dict[str, Fraction]:
    """One entry per spelling, from entries whose key lists several separated by blanks."""
    return {name: Fraction(factor) for names, factor in factors.items() for name in names.split()}


_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}

_TIMES = _spelled(
    {
        "ns nanosecond nanoseconds": Fraction(1, 10**9),
        "us µs μs microsecond microseconds": Fraction(1, 10**6),
        "ms millisecond milliseconds": Fraction(1, 10**3),
        "s sec second seconds": 1,
        "min minute minutes": 60,
        "h hr hour hours": 3600,
        "d day days": 86400,
        "week weeks": 7 * 86400,
    }
)
_BYTES = _spelled(
    {f"{prefix}B": factor for prefix, factor in (_DECIMAL | _BINARY).items()}
    | {f"{prefix}bit {prefix}b": Fraction(factor, 8) for prefix, factor in (_DECIMAL | _BINARY).items()}
    | {"byte bytes": 1, "bits": Fraction(1, 8)}
)
_COUNTS = _spelled({"job jobs": 1}) | {"": Fraction(1)}
_WATTS = _spelled({"mW": Fraction(1, 1000)} | {f"{prefix}W": factor for prefix, factor in _DECIMAL.items()})
_FLOPS = _spelled({f"{prefix}FLOP {prefix}OP": factor for prefix, factor in _DECIMAL.items()})


def _per_time(numerators: Scale) -> dict[str, Fraction]:
    """Units of a rate: ``GB/s`` and ``GB per s`` for every numerator and every unit of time."""
    return {
        f"{numerator}{link}{time}".strip(): factor / _TIMES[time]
        for numerator, factor in numerators.items()
        for time in _TIMES
        for link in ("/", " per ", " / ")
    }


def _short_rates(scale: Scale, suffixes: str, ends: str) -> dict[str, Fraction]:
    """Units of a rate that leave the second out: ``Gbps``, ``TFLOPS``."""
    return {f"{name}{ends}": factor for name, factor in scale.items() if name.endswith(suffixes)}


DIMENSIONS: Mapping[str, Dimension] = {
    "s": Dimension("a time", "s", _TIMES, ("week", "d", "h", "min", "s", "ms", "us", "ns"), ("3 h", "90 s")),
    "byte": Dimension(
        "a size",
        "B",
        _BYTES,
        ("PiB", "PB", "TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB", "B"),
        ("80 GB", "64 GiB"),
    ),
    "byte/s": Dimension(
        "a data rate",
        "B/s",
        _per_time(_BYTES) | _short_rates(_BYTES, "b", "ps"),
        ("PB/s", "TB/s", "GB/s", "MB/s", "kB/s", "B/s"),
        ("50 GB/s", "400 Gbit/s"),
    ),
    "1/s": Dimension(
        "a rate",
        "per s",
        _per_time(_COUNTS) | {"Hz": Fraction(1)},
        ("per s", "per min", "per h", "per d", "per week"),
        ("12 per h", "0.5 per s"),
    ),
    "W": Dimension("a power", "W", _WATTS, ("GW", "MW", "kW", "W", "mW"), ("700 W", "10.2 kW")),
    "flop/s": Dimension(
        "a compute rate",
        "FLOP/s",
        _per_time(_FLOPS) | _short_rates(_FLOPS, "P", "S"),
        ("PFLOP/s", "TFLOP/s", "GFLOP/s", "MFLOP/s", "FLOP/s"),
        ("989.4 TFLOP/s", "4.5 PFLOP/s"),
    ),
    "gpu_s": Dimension(
        "a GPU time",
        "GPU s",
        {f"GPU{link}{time}": factor for time, factor in _TIMES.items() for link in (" ", "-")},
        ("GPU d", "GPU h", "GPU min", "GPU s"),
        ("3250 GPU s", "1 GPU h"),
    ),
    "fraction": Dimension("a fraction", "", {"": Fraction(1), "%": Fraction(1, 100)}, ("",), ("0.5", "50 %")),
}


def parse(text: str | float, dimension: str) -> float:
    """The quantity that a text means, in the SI unit that names the dimension.

    A bare number has no unit and is refused, but for 0 and for fractions. Times may be sums (``2 h 5 min``).
    Raises UnitError, which says how such a quantity is written.

    >>> parse("80 GiB", "byte")
    85899345920.0
    >>> parse("400 Gbit/s", "byte/s")
    50000000000.0
    >>> parse("3 GiB", "s")
    Traceback (most recent call last):
    sim.units.UnitError: "3 GiB" is not a time; write "3 h" or "90 s"
    """
    if not isinstance(text, str):
        return _parse_number(text, dimension)
    value = _parse_sum(text) if dimension == "s" else None
    if value is None:
        value = _parse_quantity(text, dimension)
    try:
        return float(value)
    except OverflowError:
        raise UnitError(f"{shown(text)} is too large") from None


def format_si(value: float, dimension: str) -> str:
    """The shortest text that parses back to exactly this value.

    >>> format_si(10800.0, "s"), format_si(85899345920.0, "byte"), format_si(0.25, "1/s")
    ('3 h', '80 GiB', '15 per min')
    """
    if not math.isfinite(value):
        raise UnitError(f"{value} is not {DIMENSIONS[dimension].noun}")
    kind = DIMENSIONS[dimension]
    counts = [(value / float(kind.scale[unit]), unit) for unit in kind.written]
    texts = [f"{_digits(n)} {unit}".strip() for count, unit in counts for n in (_rounded(count), count)]
    exact = [text for text in texts if _parses_to(text, dimension, value)]
    base = f"{_digits(value)} {kind.base}".strip()
    if value == 0:
        return base
    return min([*exact, base], key=lambda text: (len(text.partition(" ")[0]), text == base))


def human_duration(seconds: float) -> str:
    """A time for reading, to two units at most: it rounds, so do not parse it back.

    >>> human_duration(7512.0), human_duration(42.0), human_duration(0.0421)
    ('2 h 5 min', '42 s', '42.1 ms')
    """
    if not math.isfinite(seconds):
        raise UnitError(f"{seconds} is not a time")
    if seconds < 0:
        return f"-{human_duration(-seconds)}"
    if seconds < 59.95:  # noqa: PLR2004 - from there on three digits of seconds are a minute
        return _three_digits(seconds)
    for large, small, limit in (("min", "s", "h"), ("h", "min", "d")):
        if round(seconds / _TIMES[small]) * _TIMES[small] < _TIMES[limit]:
            return _two_units(seconds, large, small)
    return _two_units(seconds, "d", "h")


def human_size(size_bytes: float) -> str:
    """A size for reading, to three digits in decimal units: it rounds, so do not parse it back.

    >>> human_size(2444.0e9), human_size(12.6e6), human_size(512.0), human_size(999_960.0)
    ('2.44 TB', '12.6 MB', '512 B', '1 MB')
    """
    rounded = float(f"{size_bytes:.3g}")
    power = next((power for power in (15, 12, 9, 6, 3) if rounded >= 10.0**power), 0)
    unit = {15: "PB", 12: "TB", 9: "GB", 6: "MB", 3: "kB", 0: "B"}[power]
    return f"{_digits(float(f'{rounded / 10.0**power:.3g}'))} {unit}"


def _three_digits(seconds: float) -> str:
    """``42.1 ms``: a time below a minute."""
    unit = next((unit for unit in ("s", "ms", "us") if seconds >= _TIMES[unit]), "ns") if seconds else "s"
    return f"{_digits(float(f'{seconds / float(_TIMES[unit]):.3g}'))} {unit}"


def _two_units(seconds: float, large: str, small: str) -> str:
    """``2 h 5 min``: whole large units and the rest in whole small ones."""
    whole, rest = divmod(round(seconds / _TIMES[small]), int(_TIMES[large] / _TIMES[small]))
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"


def _parse_number(number: object, dimension: str) -> float:
    """A number that YAML understood as such: it has no unit, which only zero and fractions do without."""
    kind = DIMENSIONS[dimension]
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= _LARGEST:
        fault = "has no value" if number is None else f"{shown(number)} is not {kind.noun}"
        raise UnitError(f"{fault}; {_remedy(kind)}")
    if number == 0 or dimension == "fraction":
        return float(number)
    plain = f"{_digits(float(number))} {kind.base}"
    short = format_si(float(number), dimension)
    choices = f'"{plain}"' if plain == short else f'"{plain}" or "{short}"'
    raise UnitError(f"{shown(number)} has no unit; write {choices} if that is what you mean")


def _parse_sum(text: str) -> Fraction | None:
    """Times may be sums, such as ``2 h 5 min``; None if the text is not of that form."""
    terms = _TIME_TERM.findall(text)
    if _TIME_TERM.sub("", text).strip() or any(unit not in _TIMES for _, unit in terms):
        return None
    return (
        sum((_exact(number, text) * _TIMES[unit] for number, unit in terms), Fraction(0)) if terms else None
    )


def _parse_quantity(text: str, dimension: str) -> Fraction:
    """One number and one unit."""
    kind = DIMENSIONS[dimension]
    quantity = _QUANTITY.fullmatch(text)
    if quantity is None:
        raise UnitError(f"{shown(text)} is not {kind.noun}; {_remedy(kind)}")
    unit = " ".join(quantity[2].split())
    number = _exact(quantity[1], text)
    if unit in kind.scale:
        return number * kind.scale[unit]
    if number == 0 and not unit:
        return number
    if not unit:
        raise UnitError(f"{shown(text)} has no unit; {_remedy(kind)}")
    raise UnitError(f"{shown(text)} is not {kind.noun}; {_remedy(kind)}")


def _exact(number: str, text: str) -> Fraction:
    """A decimal number without rounding, so that ``35 us`` is the float nearest to 0.000035."""
    if not math.isfinite(float(number)):
        raise UnitError(f"{shown(text)} is too large")
    return Fraction(number) if float(number) else Fraction(0)


def _remedy(kind: Dimension) -> str:
    return f'write "{kind.examples[0]}" or "{kind.examples[1]}"'


def _digits(value: float) -> str:
    """The shortest decimal of a float, without a trailing ``.0``."""
    return repr(float(value)).removesuffix(".0")


def _rounded(value: float) -> float:
    """Without the last digits, where the noise of a division is: 5 rather than 4.999999999999999."""
    return float(f"{value:.12g}")


def _parses_to(text: str, dimension: str, value: float) -> bool:
    try:
        return parse(text, dimension) == value
    except UnitError:
        return False
