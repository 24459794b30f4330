"""Named randomness: what is equal, what is independent."""

import numpy as np

from sim.streams import stream


def test_a_seed_and_a_name_always_give_the_same_numbers() -> None:
    # Known draws: if they change, no run of an older version can be repeated.
    assert stream(7, "vision", "arrivals").integers(1000, size=5).tolist() == [91, 58, 288, 317, 150]


def test_another_seed_or_another_name_gives_other_numbers() -> None:
    streams = [
        stream(1, "a"),
        stream(2, "a"),
        stream(1, "b"),
        stream(1, "a", "b"),
        stream(1, "b", "a"),
        stream(1),
    ]
    first = [generator.random() for generator in streams]
    assert len(set(first)) == len(first)


def test_streams_of_different_names_are_uncorrelated() -> None:
    sizes = stream(0, "vision", "sizes").standard_normal(100_000)
    durations = stream(0, "vision", "durations").standard_normal(100_000)
    assert abs(np.corrcoef(sizes, durations)[0, 1]) < 4 / np.sqrt(100_000)
