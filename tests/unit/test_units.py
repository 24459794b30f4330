"""Quantities: text with a unit becomes an SI float, and back without loss."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import units
from sim.units import DIMENSIONS, UnitError, format_si, human_duration, parse

MAGNITUDES = st.floats(min_value=1e-12, max_value=1e24, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("3 h", "s", 10_800.0),
        ("90s", "s", 90.0),
        ("1 week", "s", 604_800.0),
        ("2 h 5 min", "s", 7_500.0),
        ("1h30min", "s", 5_400.0),
        ("35 us", "s", 35e-6),
        ("1.5 days", "s", 129_600.0),
        ("0", "s", 0.0),
        (0, "s", 0.0),
        ("80 GB", "byte", 80e9),
        ("80 GiB", "byte", 80 * 2**30),
        ("8 bit", "byte", 1.0),
        ("400 Gbit/s", "byte/s", 50e9),
        ("400 Gb/s", "byte/s", 50e9),
        ("400 Gbps", "byte/s", 50e9),
        ("50 GB/s", "byte/s", 50e9),
        ("50 GB per s", "byte/s", 50e9),
        ("12 per h", "1/s", 12 / 3600),
        ("12/h", "1/s", 12 / 3600),
        ("12 jobs per h", "1/s", 12 / 3600),
        ("2 Hz", "1/s", 2.0),
        ("10.2 kW", "W", 10_200.0),
        ("989.4 TFLOP/s", "flop/s", 989.4e12),
        ("1979 TOPS", "flop/s", 1979e12),
        ("3250 GPU s", "gpu_s", 3250.0),
        ("1 GPU h", "gpu_s", 3600.0),
        ("1 GPU-hour", "gpu_s", 3600.0),
        ("50 %", "fraction", 0.5),
        (0.5, "fraction", 0.5),
        ("1e3 s", "s", 1000.0),
        ("-3 h", "s", -10_800.0),
    ],
)
def test_text_with_a_unit_means_an_si_value(text: str | float, dimension: str, value: float) -> None:
    assert parse(text, dimension) == pytest.approx(value, rel=1e-15)


def test_a_gigabyte_is_not_a_gibibyte_nor_a_gigabit() -> None:
    assert len({parse(f"1 {unit}", "byte") for unit in ("GB", "GiB", "Gb", "Gib")}) == 4


@pytest.mark.parametrize(
    ("written", "dimension", "message"),
    [
        ("3 GiB", "s", '"3 GiB" is not a time; write "3 h" or "90 s"'),
        ("three hours", "s", '"three hours" is not a time; write "3 h" or "90 s"'),
        ("", "s", '"" is not a time; write "3 h" or "90 s"'),
        ("2 h 5", "s", '"2 h 5" is not a time; write "3 h" or "90 s"'),
        ("nan s", "s", '"nan s" is not a time; write "3 h" or "90 s"'),
        ("inf", "s", '"inf" is not a time; write "3 h" or "90 s"'),
        ("1e999 s", "s", '"1e999 s" is too large'),
        ("1e308 week", "s", '"1e308 week" is too large'),
        ("3600", "s", '"3600" has no unit; write "3 h" or "90 s"'),
        (3600, "s", '3600 has no unit; write "3600 s" or "1 h" if that is what you mean'),
        (7, "byte", '7 has no unit; write "7 B" if that is what you mean'),
        (math.nan, "s", '.nan is not a time; write "3 h" or "90 s"'),
        (-math.inf, "s", '-.inf is not a time; write "3 h" or "90 s"'),
        (10**400, "s", f'{10**400} is not a time; write "3 h" or "90 s"'),
        (None, "s", 'has no value; write "3 h" or "90 s"'),
        ([1], "s", 'a list is not a time; write "3 h" or "90 s"'),
        ("3 x " * 30, "s", f'"{"3 x " * 14}3..." is not a time; write "3 h" or "90 s"'),
        (True, "s", 'true is not a time; write "3 h" or "90 s"'),
        ("80 gb", "byte", '"80 gb" is not a size; write "80 GB" or "64 GiB"'),
        ("50 GB", "byte/s", '"50 GB" is not a data rate; write "50 GB/s" or "400 Gbit/s"'),
        ("3 h", "gpu_s", '"3 h" is not a GPU time; write "3250 GPU s" or "1 GPU h"'),
        ("half", "fraction", '"half" is not a fraction; write "0.5" or "50 %"'),
        ("12", "1/s", '"12" has no unit; write "12 per h" or "0.5 per s"'),
        ("700 V", "W", '"700 V" is not a power; write "700 W" or "10.2 kW"'),
        ("5 TFLOP", "flop/s", '"5 TFLOP" is not a compute rate; write "989.4 TFLOP/s" or "4.5 PFLOP/s"'),
    ],
)
def test_what_is_not_such_a_quantity_is_refused_with_how_to_write_one(
    written: Any, dimension: str, message: str
) -> None:
    with pytest.raises(UnitError) as refusal:
        parse(written, dimension)
    assert str(refusal.value) == message


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_example_in_a_message_is_accepted(dimension: str) -> None:
    for example in DIMENSIONS[dimension].examples:
        assert parse(example, dimension) > 0


@given(
    value=st.one_of(MAGNITUDES, st.just(0.0), MAGNITUDES.map(lambda x: -x)),
    dimension=st.sampled_from(sorted(DIMENSIONS)),
)
def test_what_is_written_reads_back_as_exactly_the_same_value(value: float, dimension: str) -> None:
    assert parse(format_si(value, dimension), dimension) == value


@given(number=st.integers(1, 999), dimension=st.sampled_from(sorted(DIMENSIONS)), data=st.data())
def test_what_a_person_writes_is_written_back_no_longer(
    number: int, dimension: str, data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(DIMENSIONS[dimension].written))
    written = f"{number} {unit}".strip()
    text = format_si(parse(written, dimension), dimension)
    assert len(text.split()[0]) <= len(str(number))


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (10_800.0, "s", "3 h"),
        (1800.0, "s", "30 min"),
        (0.0, "s", "0 s"),
        (1.5, "s", "1.5 s"),
        (80 * 2.0**30, "byte", "80 GiB"),
        (80e9, "byte", "80 GB"),
        (3350e9, "byte/s", "3.35 TB/s"),
        (5e-6, "s", "5 us"),
        (12 / 3600, "1/s", "12 per h"),
        (3600.0, "gpu_s", "1 GPU h"),
        (0.25, "fraction", "0.25"),
    ],
)
def test_values_are_written_as_people_write_them(value: float, dimension: str, text: str) -> None:
    assert format_si(value, dimension) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_never_written(value: float) -> None:
    with pytest.raises(UnitError):
        format_si(value, "s")
    with pytest.raises(UnitError):
        human_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (5e-10, "0.5 ns"),
        (0.0004, "400 us"),
        (0.0421, "42.1 ms"),
        (42.0, "42 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (3599.9, "1 h"),
        (7512.0, "2 h 5 min"),
        (86_399.9, "1 d"),
        (1e6, "11 d 14 h"),
        (-90.0, "-1 min 30 s"),
    ],
)
def test_a_duration_reads_as_two_units_at_most(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@given(seconds=st.floats(min_value=1e-3, max_value=1e9))
def test_a_duration_that_is_read_is_right_to_a_few_per_cent(seconds: float) -> None:
    assert units.parse(human_duration(seconds), "s") == pytest.approx(seconds, rel=0.03)
