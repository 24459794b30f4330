"""Networks drawn at random: the same for the same name, and of one kind of operator each."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("torchvision", reason="needs the extra train")

from sim.errors import PlanError  # noqa: E402
from train.measure.case import Case  # noqa: E402
from train.measure.device import Device  # noqa: E402
from train.measure.drawn import THEMES  # noqa: E402
from train.measure.sizes import QUICK_CPU  # noqa: E402
from train.measure.subject import Subject, described  # noqa: E402
from train.measure.training import Training  # noqa: E402

KINDS = {
    "spatial": "convolution",
    "pointwise": "convolution",
    "residual": "element_wise",
    "depthwise3x3": "depthwise_convolution",
    "depthwise5x5": "depthwise_convolution",
    "depthwise7x7": "depthwise_convolution",
    "grouped": "grouped_convolution",
    "dense": "copy",
    "gate": "element_wise",
    "pool": "pooling",
    "normalised": "normalisation",
    "shuffle": "copy",
    "tokens": "layer_normalisation",
    "linear": "matrix_product",
}


@pytest.mark.parametrize("theme", THEMES)
def test_each_theme_trains_and_has_its_kind_of_operator(theme: str) -> None:
    subject = Subject.parse(f"drawn_{theme}_1@32")
    (row,) = Training(Case(subject, 2), Device("cpu")).measure(0.01, first=True)
    assert row.status == "ok", row.reason
    assert KINDS[theme] in {operator.kind for operator in described(subject).operators}


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_depthwise_convolutions_of_each_size_come_alone(kernel: int) -> None:
    found = described(Subject.parse(f"drawn_depthwise{kernel}x{kernel}_1@48")).operators
    taps = {operator.taps for operator in found if operator.kind == "depthwise_convolution"}
    assert taps == {kernel**2}


def test_a_name_is_one_network_and_numbers_differ() -> None:
    first, again, other = (described.__wrapped__(Subject.parse(f"drawn_pool_{n}@48")) for n in (1, 1, 2))
    assert first == again
    assert first.operators != other.operators


def test_what_cannot_be_drawn_is_refused() -> None:
    for name in ("drawn_nothing_1", "drawn_pool", "drawn_pool_x"):
        with pytest.raises(PlanError, match="not a model that can be measured"):
            Subject.parse(name)


def test_a_quick_sweep_has_every_theme() -> None:
    names = [Subject.parse(name).name for name in QUICK_CPU.drawn]
    assert [name.removeprefix("drawn_").rpartition("_")[0] for name in names] == list(THEMES)
