"""Operator lists against totals that others have published."""

import pytest

from sim.perf.operators import Model, Operator, merged

torch = pytest.importorskip("torch", reason="operator lists are traced with PyTorch (the extra train)")
torchvision = pytest.importorskip("torchvision", reason="the networks are torchvision's (the extra train)")

from train.operators import trace  # noqa: E402 - it needs torch


def traced(name: str) -> Model:
    with torch.device("meta"):
        module = torchvision.models.get_model(name)
    operators = trace(module, torch.empty(2, 3, 224, 224, device="meta"))
    parameters = sum(weight.numel() for weight in module.parameters())
    return Model(name=name, parameters=parameters, input_shape=(3, 224, 224), operators=operators)


@pytest.mark.parametrize(
    ("name", "gmacs", "million_parameters"),
    [
        ("resnet50", 4.09, 25.557),
        ("vgg16", 15.47, 138.358),
        ("mobilenet_v2", 0.30, 3.505),
        ("vit_b_16", 17.56, 86.568),
        ("swin_t", 4.49, 28.288),
        ("resnext50_32x4d", 4.23, 25.029),
    ],
)
def test_totals_are_the_published_ones(name: str, gmacs: float, million_parameters: float) -> None:
    """GFLOPS (multiply-adds) and parameters of torchvision's own table of weights."""
    model = traced(name)
    assert model.macs / 1e9 == pytest.approx(gmacs, abs=0.005)
    assert model.parameters / 1e6 == pytest.approx(million_parameters, abs=0.0005)


def test_activations_are_those_of_the_published_table() -> None:
    """timm's benchmark table says 11.11 million for ResNet-50."""
    assert traced("resnet50").activation_elements / 1e6 == pytest.approx(11.11, abs=0.01)


def test_depthwise_grouped_and_dense_convolutions_are_told_apart() -> None:
    kinds = {operator.kind for operator in traced("resnext50_32x4d").operators}
    assert "grouped_convolution" in kinds
    assert "depthwise_convolution" not in kinds
    assert "depthwise_convolution" in {operator.kind for operator in traced("mobilenet_v2").operators}


def test_poolings_know_their_window() -> None:
    windows = {operator.taps for operator in traced("squeezenet1_1").operators if operator.kind == "pooling"}
    assert 9 in windows


def test_fused_attention_is_one_operator_and_leaves_pytorch_as_it_was() -> None:
    before = torch.nn.functional.scaled_dot_product_attention
    attention = [operator for operator in traced("vit_b_16").operators if operator.kind == "attention"]
    assert [(operator.count, operator.groups, operator.gemm_m) for operator in attention] == [(12, 12, 197)]
    assert torch.nn.functional.scaled_dot_product_attention is before


def test_equal_operators_are_counted_not_repeated() -> None:
    relu = Operator(kind="activation", count=1, input_elements=4, output_elements=4)
    assert merged([relu, relu, relu.model_copy(update={"count": 3})])[0].count == 5


def test_sizes_do_not_depend_on_the_batch_that_was_traced() -> None:
    with torch.device("meta"):
        module = torchvision.models.mobilenet_v3_small()
    small, large = (trace(module, torch.empty(n, 3, 64, 64, device="meta")) for n in (2, 6))
    assert small == large
