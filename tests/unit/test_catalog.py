"""The catalog: every number has a source, peaks are dense, and unknown hardware is refused."""

from importlib.resources import files

import pytest
from pydantic import ValidationError

from sim import catalog
from sim.catalog import Entry, GpuType, NodeType
from sim.errors import PlanError

GPUS = [catalog.gpu(name) for name in catalog.names("gpu")]
NODES = [catalog.node(name) for name in catalog.names("node")]


@pytest.mark.parametrize("entry", [*GPUS, *NODES], ids=lambda entry: entry.name)
def test_every_number_says_where_it_is_from(entry: Entry) -> None:
    numbers = {field for field, value in entry if isinstance(value, int | float)}
    assert numbers
    assert set(entry.sources) == numbers
    for source in entry.sources.values():
        assert (source.evidence == "checked") == source.checked.startswith("http")


def test_a_number_without_a_source_is_refused() -> None:
    with pytest.raises(ValidationError, match="numbers"):
        NodeType(name="own", gpu="t4", gpus=8, scale_up_gpus=8, sources={})


def test_a_file_is_named_as_its_entry() -> None:
    for kind in ("gpu", "node"):
        for name in catalog.names(kind):
            text = (files("sim.catalog") / f"{kind}s" / f"{name}.yaml").read_text("utf-8")
            assert text.splitlines()[0] == f"name: {name}"


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_peaks_grow_as_numbers_get_shorter(gpu: GpuType) -> None:
    """A value with sparsity among dense ones would be four times its neighbour, or equal to the next one."""
    assert gpu.bf16 in (None, gpu.fp16)
    for wide, short in ((gpu.fp16, gpu.fp8), (gpu.fp8, gpu.fp4), (gpu.tf32, gpu.fp16)):
        if wide is not None and short is not None:
            assert 1.9 <= short / wide <= 3.2


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_sizes_of_a_gpu_are_plausible(gpu: GpuType) -> None:
    """A slip of a prefix or of bits for bytes would be far outside."""
    assert 10e9 <= gpu.memory <= 400e9
    assert 200e9 <= gpu.memory_bandwidth <= 10e12
    assert 20e12 <= gpu.fp16 <= 5e15
    assert 50 <= gpu.power <= 2000
    assert gpu.idle_power is None or gpu.idle_power < gpu.power
    assert (gpu.scale_up_bandwidth is None) == (gpu.scale_up_link is None)
    assert gpu.scale_up_bandwidth is None or 50e9 <= gpu.scale_up_bandwidth <= 1e12


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_a_node_is_made_of_gpus_of_the_catalog(node: NodeType) -> None:
    gpu = catalog.gpu(node.gpu)
    assert node.scale_up_gpus % node.gpus == 0
    assert node.power is None or node.power > node.gpus * gpu.power
    assert node.memory is not None
    assert node.memory >= node.gpus * gpu.memory


def test_known_figures_of_an_h100_node() -> None:
    node = catalog.node("dgx-h100")
    gpu = catalog.gpu(node.gpu)
    assert (node.gpus, node.network, node.power) == (8, 400e9, 10_200)
    assert (gpu.memory, gpu.memory_bandwidth, gpu.bf16) == (80e9, 3350e9, 989.4e12)
    assert gpu.scale_up_bandwidth == 450e9


def test_names_are_read_in_any_case_and_with_blanks() -> None:
    assert catalog.node("DGX H100") is catalog.node("dgx_h100") is catalog.node("dgx-h100")


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (
            lambda: catalog.gpu("h100"),
            (
                '"h100" is not a GPU of the catalog; '
                'did you mean "h100-hbm2e-96gb", "h100-pcie-80gb" or "h100-sxm5-80gb"?'
            ),
        ),
        (
            lambda: catalog.node("dgx-h10"),
            '"dgx-h10" is not a node of the catalog; did you mean "dgx-h100"?',
        ),
        (
            lambda: catalog.node("zebra"),
            (
                f'"zebra" is not a node of the catalog; choose {", ".join(catalog.names("node")[:-1])}'
                f" or {catalog.names('node')[-1]}"
            ),
        ),
    ],
)
def test_unknown_hardware_is_refused_with_the_nearest_name(look_up: object, message: str) -> None:
    assert callable(look_up)
    with pytest.raises(PlanError) as refusal:
        look_up()
    assert str(refusal.value) == message


def test_the_catalog_lists_gpus_then_nodes_then_stores() -> None:
    kinds = ("gpu", "node", "store")
    assert [entry.name for entry in catalog.entries()] == [
        name for kind in kinds for name in catalog.names(kind)
    ]


def test_a_peak_with_sparsity_is_refused() -> None:
    sheet = catalog.gpu("h100-sxm5-80gb").model_dump()
    assert sheet["fp16"] == pytest.approx(989e12, rel=0.01)
    for wrong in ({"fp16": 1979e12, "bf16": 1979e12}, {"fp8": 3958e12}):
        with pytest.raises(ValueError, match="as if it were with sparsity; give dense peaks"):
            GpuType.model_validate(sheet | wrong)
