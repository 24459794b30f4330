"""A recipe carried out: data, first weights, training with checkpoints, test, and what it saved."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from train import checkpoint, compress, ddp, distil, extra, folder, loop, memory, models, savings, sources
from train import training as trainings
from train.config import Recipe
from train.ddp import Place
from train.distil import Teacher
from train.training import Training

Progress = Callable[[int, int], None] | None


@dataclass(frozen=True, slots=True)
class Options:
    """Where a recipe is carried out, and what with."""

    out: Path
    data_folder: Path = Path("data")
    download: bool = False
    resume: bool = False
    force: bool = False
    tensorboard: bool = False


def carry_out(recipe: Recipe, options: Options, place: Place, progress: Progress = None) -> dict[str, Any]:
    """Train, test and report; the summary, which is also in the folder with all else."""
    started_s = perf_counter()
    if options.tensorboard:
        extra.require("tensorboard")
    if place.leads:
        folder.check(options.out, resume=options.resume, force=options.force)
    with trainings.numerics(recipe), trainings.compiler_told_of():
        training, teacher = prepared(recipe, options, place)
        if place.leads:
            folder.begin(options.out, recipe, resume=options.resume, force=options.force)
        _train(training, options, progress)
        if training.best:
            training.model.load_state_dict(training.best["model"])
        rows = _changes(training, teacher, options)
        if not place.leads:
            return {}
        return _report(training, rows, options, perf_counter() - started_s)


def prepared(recipe: Recipe, options: Options, place: Place) -> tuple[Training, Teacher | None]:
    """A training at its beginning, or where its checkpoint left it, and its teacher if it has one."""
    with ddp.one_before_others(place, wanted=options.download):
        splits = sources.read(recipe.data, options.data_folder, recipe.seed, download=options.download)
        model = loop.initialise(recipe, splits.task, options.data_folder, download=options.download)
    teacher = distil.teacher(recipe, splits.task, place)
    model = trainings.translated(model, recipe)
    training = trainings.prepare(recipe, splits, place, model, distil.objective(recipe, teacher))
    file = options.out / checkpoint.FILE
    torch.manual_seed(recipe.seed + place.rank)
    if options.resume and file.exists():
        trainings.restore(training, checkpoint.read(file), str(file))
    return training, teacher


def _train(training: Training, options: Options, progress: Progress) -> None:
    """All epochs, with a checkpoint after each and, if the recipe says so, between steps."""
    recipe, leads = training.recipe, training.setting.place.leads
    _note_stage(training, "before", at=0)
    wanted = options.tensorboard and leads
    with folder.events(options.out, wanted=wanted, epoch=training.epoch) as note:

        def after_step(_: Training) -> None:
            _tell(training, progress)
            if recipe.checkpoint_every_steps and training.done % recipe.checkpoint_every_steps == 0:
                _save(training, options)

        def after_epoch(_: Training) -> None:
            _tell(training, progress)
            _note_stage(training, "new head", at=recipe.transfer.frozen_epochs if recipe.transfer else 0)
            _save(training, options)
            if leads:
                folder.write_history(options.out, recipe.name, training.history)
                note(training.history[-1])

        _fit(training, after_step, after_epoch)


def _fit(
    training: Training, after_step: Callable[[Training], None], after_epoch: Callable[[Training], None]
) -> None:
    """Fit; where memory is not enough, say which batch would do."""
    try:
        loop.fit(training, after_step, after_epoch)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_exhausted(error):
            raise
    else:
        return
    raise memory.advice(training)


def _tell(training: Training, progress: Progress) -> None:
    if progress is not None:
        steps = training.batches.steps
        progress(training.epoch * steps + training.done, training.recipe.epochs * steps)


def _save(training: Training, options: Options) -> None:
    """Write the checkpoint; all processes tell their part of it, the first writes."""
    content = trainings.state(training)
    if training.setting.place.leads:
        checkpoint.write(options.out / checkpoint.FILE, content)


def _note_stage(training: Training, stage: str, at: int) -> None:
    """The figures of transfer learning at its beginning and when the body starts to learn."""
    known = {row["stage"] for row in training.stages}
    here = training.epoch == at and training.done == 0 and stage not in known
    if training.recipe.transfer and training.setting.place.leads and here:
        frozen = stage != "before"
        training.stages.append(savings.figures(stage, training, frozen=frozen).row())


def _changes(training: Training, teacher: Teacher | None, options: Options) -> list[dict[str, Any]]:
    """What transfer, distillation and compression changed, before and after."""
    recipe, leads = training.recipe, training.setting.place.leads
    rows = list(training.stages)
    if recipe.transfer and leads:
        rows.append(savings.figures("whole model", training).row())
    if teacher is not None and leads:
        rows += [savings.figures("teacher", taught_by(teacher, training)).row()]
        rows += [savings.figures("student", training).row()]
    if recipe.compress:
        rows += [figures.row() for figures in compress.run(training, recipe.compress, options.out)]
    return rows


def taught_by(teacher: Teacher, training: Training) -> Training:
    """The training of a teacher, as if it were to go on."""
    recipe = training.recipe.model_copy(
        update={"model": teacher.recipe.model, "distil": None, "transfer": None}
    )
    splits = replace(training.splits, task=teacher.task)
    place = Place(training.setting.place.device)
    return trainings.prepare(recipe, splits, place, teacher.model, distil.objective(recipe, None))


def _report(
    training: Training, rows: list[dict[str, Any]], options: Options, seconds: float
) -> dict[str, Any]:
    """Test the model, and write down what came of the training."""
    found = loop.infer(training.model, training.splits.test, training.setting)
    last = training.history[-1]
    summary = {
        "recipe": training.recipe.name,
        "test_accuracy": found.accuracy,
        "test_samples": len(found.labels),
        "validation_accuracy": last.get("validation_accuracy"),
        "training_loss": last["training_loss"],
        "epochs": training.epoch,
        "best_epoch": training.best["epoch"] if training.best else None,
        "samples_per_s": last["samples_per_s"],
        "seconds": seconds,
        "parameters": models.parameters(training.model),
        "device": _device_name(training.setting.place),
        "processes": training.setting.place.world,
        "torch": str(torch.__version__),
        "savings": rows,
    }
    folder.write_predictions(options.out, found)
    folder.write_savings(options.out, rows)
    folder.write_history(options.out, training.recipe.name, training.history)
    folder.write_summary(options.out, summary)
    return summary


def _device_name(place: Place) -> str:
    if place.device.type == "cuda":
        return torch.cuda.get_device_name(place.device)
    return f"{place.device.type}, {torch.get_num_threads()} threads"
