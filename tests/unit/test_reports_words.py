"""Reports round for the reader and never to a false claim."""

import doctest
from types import ModuleType

import pytest

from sim import words
from sim.reports import compare, facts, html, steps, svg


@pytest.mark.parametrize(
    "module", [compare, facts, html, steps, svg, words], ids=lambda module: module.__name__
)
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("fraction", [1e-12, 1e-5, 0.00099])
def test_a_small_share_is_never_said_to_be_nothing(fraction: float) -> None:
    assert words.percent(fraction) == "under 0.1 %"


@pytest.mark.parametrize("fraction", [0.9991, 0.99999999])
def test_nearly_all_is_never_said_to_be_all(fraction: float) -> None:
    assert words.percent(fraction) == "over 99.9 %"
