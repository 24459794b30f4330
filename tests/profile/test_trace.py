"""What a step computes, moves and holds, against counts by hand and by torch."""

import pytest

torch = pytest.importorskip("torch", reason="the extra train brings torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402 - after the skip

from train.measure.case import Case, TrainingStep  # noqa: E402
from train.measure.device import Device  # noqa: E402
from train.measure.subject import Subject  # noqa: E402
from train.measure.trace import Trace  # noqa: E402

CPU = Device("cpu")


@pytest.fixture(scope="module")
def step() -> TrainingStep:
    torch.set_num_threads(1)
    step = TrainingStep(Case(Subject.parse("textbook"), 4), CPU)
    step()
    return step


def traced(step: TrainingStep) -> Trace:
    with Trace(step.held()) as trace:
        step(trace.mark)
    return trace


def test_operations_are_those_that_torch_counts(step: TrainingStep) -> None:
    with FlopCounterMode(display=False) as counter:
        step()
    assert traced(step).flops == counter.get_total_flops()


def test_bytes_of_a_matrix_product_are_those_of_its_three_matrices() -> None:
    left, right = torch.ones(3, 5), torch.ones(5, 7)
    with Trace() as trace:
        left @ right
        trace.mark("forward")
    assert trace.bytes_by_kind == {"matrix_product": 4 * (15 + 35 + 21)}
    assert trace.kernels == 1


def test_looking_at_a_tensor_in_another_way_is_no_kernel() -> None:
    with Trace() as trace:
        torch.ones(3, 5).T.reshape(-1, 1, 3).view(5, 3)
    assert trace.kernels <= 1


def test_the_update_moves_weights_gradients_and_momentum(step: TrainingStep) -> None:
    weights = sum(weight.nbytes for weight in step.module.parameters())
    assert 4 * weights <= traced(step).bytes_by_kind["optimiser"] <= 8 * weights


def test_memory_is_given_back_when_nobody_holds_it() -> None:
    with Trace() as trace:
        kept = torch.ones(1000)
        for _ in range(5):
            torch.ones(500)
    assert trace.peak_bytes == kept.nbytes + 2000


def test_views_hold_no_memory_of_their_own() -> None:
    with Trace() as trace:
        whole = torch.ones(1000)
        parts = whole.chunk(4)
    assert trace.peak_bytes == whole.nbytes
    assert len(parts) == 4


def test_a_step_holds_weights_gradients_momentum_and_activations(step: TrainingStep) -> None:
    weights = sum(weight.nbytes for weight in step.module.parameters())
    activations = 4 * (4 * 32 * 28 * 28) * 2 + 4 * (4 * 32 * 14 * 14) * 3
    assert 2 * weights + activations < traced(step).peak_bytes < 4 * weights + 2.5 * activations


def test_the_peak_is_within_a_few_per_cent_of_what_the_allocator_saw(step: TrainingStep) -> None:
    """The profiler of torch notes each allocation, also those inside an operator."""
    from torch.profiler import ProfilerActivity, profile  # noqa: PLC0415 - it talks on import

    held_bytes = sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in step.held()}.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    assert traced(step).peak_bytes == pytest.approx(held_bytes + peak, rel=0.1)
