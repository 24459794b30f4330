"""Distillation: a student learns from a teacher, which is only looked at."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from sim.errors import PlanError
from tests.train import small
from train import checkpoint, distil, experiment

STUDENT = {"kind": "textbook", "channels": 2, "hidden": 8}
FEW = {"kind": "digits", "samples": 320, "validation": 0.2}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows the digits well."""
    folder = tmp_path_factory.mktemp("teacher")
    data = {"kind": "digits", "validation": 0.1}
    model = {"kind": "textbook", "channels": 16, "hidden": 64}
    training = small.trained(small.recipe(data=data, model=model, epochs=6, batch=32))
    checkpoint.write(folder / checkpoint.FILE, experiment.trainings.state(training))
    return folder


@pytest.fixture(scope="module")
def distilled(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is reported of a student."""
    wanted = small.recipe(data=FEW, model=STUDENT, distil={"teacher": teacher}, epochs=8)
    return experiment.carry_out(wanted, experiment.Options(tmp_path_factory.mktemp("out")), small.HERE)


def test_the_student_learns_and_both_are_reported(distilled: dict[str, Any]) -> None:
    of_teacher, of_student = distilled["savings"]
    assert (of_teacher["stage"], of_student["stage"]) == ("teacher", "student")
    assert of_teacher["test_accuracy"] >= 0.95
    assert of_student["test_accuracy"] == distilled["test_accuracy"] >= 0.6
    assert of_student["stored_bytes"] < 0.5 * of_teacher["stored_bytes"]
    assert of_student["training_samples_per_s"] > 0 < of_teacher["training_samples_per_s"]
    assert of_student["inference_samples_per_s"] > 0 < of_teacher["inference_samples_per_s"]


def test_the_teacher_is_not_changed(teacher: Path) -> None:
    wanted = small.recipe(model=STUDENT, distil={"teacher": teacher}, epochs=1)
    task = small.training(wanted).setting.task
    seen = distil.teacher(wanted, task, small.HERE)
    assert seen is not None
    training = small.training(wanted)
    training.objective = distil.objective(wanted, seen)
    experiment.loop.fit(training)
    assert not seen.training
    assert all(weights.grad is None for weights in seen.parameters())
    stored = checkpoint.trained(teacher)[2]
    assert all(torch.equal(value, stored[name]) for name, value in seen.model.state_dict().items())


def test_the_teacher_sees_inputs_normalised_in_its_own_way(teacher: Path) -> None:
    wanted = small.recipe(data=FEW, distil={"teacher": teacher})
    training = small.training(wanted)
    seen = distil.teacher(wanted, training.setting.task, small.HERE)
    assert seen is not None
    batch = training.splits.test.__getitems__(range(20))
    inputs, _ = experiment.loop.preprocess(batch, training.setting)
    itself = small.training(small.recipe(data={"kind": "digits", "validation": 0.1})).setting
    expected = seen.model(experiment.loop.preprocess(batch, itself)[0])
    assert torch.allclose(seen(inputs), expected, atol=1e-4)


def test_the_distance_from_the_teacher_is_none_for_the_same_outputs_and_grows() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.1, 0.0]])
    assert distil.divergence(logits, logits, 4.0).item() == pytest.approx(0.0, abs=1e-6)
    near, far = (distil.divergence(logits + torch.tensor([by, 0.0, 0.0]), logits, 4.0) for by in (0.5, 5.0))
    assert 0 < near < far


def test_the_gradient_from_the_teacher_does_not_depend_on_a_high_temperature() -> None:
    """Hinton et al. (2015), section 2.1: the factor T² keeps it, for it goes to a limit as T grows."""
    teacher_logits = torch.tensor([[1.0, -1.0, 0.0]])
    gradients = []
    for temperature in (50.0, 100.0):
        student = torch.zeros(1, 3, requires_grad=True)
        distil.divergence(student, teacher_logits, temperature).backward()
        assert student.grad is not None
        gradients.append(student.grad)
    assert torch.allclose(*gradients, atol=0.005)


def test_a_teacher_of_something_else_is_refused(teacher: Path) -> None:
    wanted = small.recipe(data={**FEW, "classes": (1, 2)}, distil={"teacher": teacher})
    with pytest.raises(PlanError, match=r"distil\.teacher: .* learnt 10 classes .*, the student learns 2"):
        small.training(wanted)
