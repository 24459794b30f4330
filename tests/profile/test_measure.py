"""Everything that is measured, on the CPU at the smallest size."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra train brings torch")

from sim.profile import Row, TrainingRow  # noqa: E402 - after the skip
from train.measure import device as devices  # noqa: E402
from train.measure.case import Case  # noqa: E402
from train.measure.checkpoint import Checkpoint  # noqa: E402
from train.measure.collectives import Collectives  # noqa: E402
from train.measure.device import Device, computes  # noqa: E402
from train.measure.distributed import Distributed  # noqa: E402
from train.measure.host_to_device import HostToDevice  # noqa: E402
from train.measure.inference import Inference  # noqa: E402
from train.measure.loader import Loader  # noqa: E402
from train.measure.memory_limit import free_memory_only  # noqa: E402
from train.measure.plan import Plan, Wanted  # noqa: E402
from train.measure.processes import Group, ProcessesFailedError  # noqa: E402
from train.measure.storage import CAN_FORGET, Storage  # noqa: E402
from train.measure.subject import Subject, described  # noqa: E402
from train.measure.training import Training  # noqa: E402

CPU = Device("cpu")
TEXTBOOK = Subject.parse("textbook")
PAIR = Group("cpu", 2, threads=1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def trained(subject: Subject = TEXTBOOK, batch: int = 2, **how: str) -> TrainingRow:
    (row,) = Training(Case(subject, batch, **how), CPU).measure(0.05, first=True)  # type: ignore[arg-type]
    return row


def test_a_training_row_says_all_that_a_fit_needs() -> None:
    row = trained()
    assert row.status == "ok"
    assert set(row.phases_s) == {"data", "copy", "forward", "backward", "optimiser"}
    assert row.flops_per_step is not None
    assert row.flops_per_step == pytest.approx(6 * 2 * described(TEXTBOOK).macs, rel=0.1)
    assert row.peak_memory_bytes is not None
    assert row.peak_memory_bytes > 3 * 4 * described(TEXTBOOK).parameters
    assert row.kernels_per_step is not None
    assert row.kernels_per_step > 2 * described(TEXTBOOK).kernels
    assert {"convolution", "matrix_product", "optimiser"} <= set(row.bytes_per_step)


def test_phases_add_up_to_about_the_step() -> None:
    row = trained(batch=32)
    assert row.median_s == pytest.approx(sum(row.median_phases_s.values()), rel=0.5)


def test_the_time_of_each_kind_of_operator_is_part_of_the_step() -> None:
    row = trained(batch=32)
    assert {"convolution", "pooling", "matrix_product", "optimiser"} <= set(row.operators_s)
    looks = [sum(times) for times in zip(*row.operators_s.values(), strict=True)]
    assert row.median_s is not None
    assert 0.4 * row.median_s < min(looks) < 2 * row.median_s
    assert max(row.operators_s, key=lambda kind: min(row.operators_s[kind])) == "convolution"


def test_later_passes_measure_times_only() -> None:
    (row,) = Training(Case(TEXTBOOK, 2), CPU).measure(0.01, first=False)
    assert row.flops_per_step is None
    assert len(row.step_s) >= 2


@pytest.mark.parametrize("how", [{"layout": "nhwc"}, {"precision": "bf16"}, {"precision": "fp16"}])
def test_precisions_and_layouts_run(how: dict[str, str]) -> None:
    assert trained(**how).status == "ok"


@pytest.mark.parametrize("name", ["resnet", "gpt@16", "squeezenet1_1@32"])
def test_models_of_all_kinds_run(name: str) -> None:
    assert trained(Subject.parse(name)).status == "ok"


def test_a_step_that_takes_too_long_is_measured_once_and_not_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("train.measure.training.LONG_S", 0.0)
    row = trained()
    assert (row.status, len(row.step_s), row.phases_s, row.operators_s) == ("ok", 1, {}, {})


def test_what_the_device_emulates_is_not_measured_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def emulated(_: Device, precision: str) -> bool:
        return precision == "fp32"

    def measured(**wanted: object) -> set[str]:
        plan = Plan(CPU, Wanted(only=("training",), **wanted), tmp_path)  # type: ignore[arg-type]
        assert bool(plan.notes) == (not wanted)
        return {job.case.precision for job in plan.jobs() if isinstance(job, Training)}

    monkeypatch.setattr("train.measure.device.computes", emulated)
    assert measured() == {"fp32"}
    assert measured(precisions=("bf16",)) == {"bf16"}


def test_every_device_computes_in_32_bits() -> None:
    assert computes(CPU, "fp32")
    assert computes(Device("cuda"), "bf16")


def test_what_does_not_fit_in_memory_is_a_row_that_says_so() -> None:
    with free_memory_only():
        row = trained(batch=500_000_000)
    assert (row.status, row.step_s) == ("out_of_memory", ())
    assert "memory" in row.reason


def test_what_torch_refuses_is_a_row_with_the_reason() -> None:
    row = trained(Subject.parse("alexnet@16"))
    assert row.status == "failed"
    assert row.reason


def test_memory_beyond_what_is_free_is_refused_and_the_bound_is_lifted_again() -> None:
    with free_memory_only(), pytest.raises(RuntimeError, match="memory"):
        torch.empty(1 << 42, dtype=torch.uint8)
    torch.empty(1 << 20)


def test_inference_takes_less_time_and_memory_than_training() -> None:
    (row,) = Inference(Case(TEXTBOOK, 16), CPU).measure(0.05, first=True)
    training = trained(batch=16)
    assert row.status == "ok"
    assert (row.median_s or 0.0) < (training.median_s or 0.0)
    assert (row.peak_memory_bytes or 0.0) < (training.peak_memory_bytes or 0.0)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_is_measured_by_workers(tmp_path: Path, workers: int) -> None:
    (row,) = Loader(workers, 16, tmp_path, batch=4).measure(0.1, first=True)
    assert (row.status, row.workers, len(row.time_s)) == ("ok", workers, 2)
    assert (row.images_per_s or 0.0) > 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pattern", ["sequential", "random"])
def test_storage_is_read_twice(tmp_path: Path, pattern: str) -> None:
    rows = list(Storage(tmp_path, 4 << 20, pattern).measure(0.1, first=True))  # type: ignore[arg-type]
    assert [row.read for row in rows] == ["first", "second"]
    assert [row.status for row in rows] == ["ok" if CAN_FORGET else "failed", "ok"]
    assert {row.size_bytes for row in rows} == {4 << 20}
    assert list(tmp_path.iterdir()) == []


def test_storage_that_is_not_there_is_a_row_with_the_reason(tmp_path: Path) -> None:
    rows = list(Storage(tmp_path / "none", 1 << 20, "random").measure(0.1, first=True))
    assert {row.status for row in rows} == {"failed"}
    assert "No such file" in rows[0].reason


def test_checkpoints_are_written_and_restored(tmp_path: Path) -> None:
    rows = list(Checkpoint(TEXTBOOK, CPU, tmp_path).measure(0.1, first=True))
    assert [(row.operation, row.status) for row in rows] == [("write", "ok"), ("restore", "ok")]
    assert rows[0].size_bytes == pytest.approx(8 * described(TEXTBOOK).parameters, rel=0.1)
    assert list(tmp_path.iterdir()) == []


def test_copies_to_the_device_are_measured() -> None:
    (row,) = HostToDevice(1 << 16, CPU).measure(0.01, first=True)
    assert (row.bytes_per_s or 0.0) > 1e6


def test_collectives_are_measured_among_two_processes() -> None:
    rows = list(Collectives(PAIR, (4096, 65536)).measure(0.1, first=True))
    assert {row.status for row in rows} == {"ok"}
    assert {(row.operation, row.size_bytes) for row in rows} == {
        (operation, size) for operation in ("all_reduce", "all_gather", "broadcast") for size in (4096, 65536)
    }


def test_training_on_two_devices_tells_the_all_reduce_apart() -> None:
    cases = (Case(TEXTBOOK, 2), Case(TEXTBOOK, 500_000_000), Case(TEXTBOOK, 4))
    small, large, last = Distributed(PAIR, cases).measure(0.1, first=True)
    assert (small.world_size, small.backend, small.threads) == (2, "gloo", 1)
    assert "all_reduce" in small.phases_s
    assert small.images_per_s == pytest.approx(4 / (small.median_s or 1.0))
    assert large.status == "out_of_memory"
    assert last.status == "ok"


def test_a_process_that_dies_is_a_failed_row_and_no_hanging() -> None:
    with pytest.raises(ProcessesFailedError, match="ended early"):
        list(PAIR.rows(die))


def die(rank: int) -> list[Row]:
    """The second process is killed, as by a lack of memory."""
    import os  # noqa: PLC0415 - runs in another process
    import signal  # noqa: PLC0415

    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    import time  # noqa: PLC0415

    time.sleep(60)
    return []


def test_names_of_models_carry_their_size() -> None:
    assert [str(Subject.parse(name)) for name in ("resnet18", "resnet18@64", "gpt")] == [
        "resnet18@224",
        "resnet18@64",
        "gpt@128",
    ]


def test_a_gpu_that_is_not_there_is_told() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    from sim.errors import PlanError  # noqa: PLC0415 - only here

    with pytest.raises(PlanError, match="torch finds no CUDA GPU here"):
        devices.find("cuda")
