"""What the user wants to train: a recipe, read from YAML as scenarios are, every fault told with its line.

``load`` takes a file, or the name of a recipe that ships with dcplan (``names``). ``dump`` writes a recipe
with all its defaults, and that loads as an equal one.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, model_validator
from ruamel.yaml import YAML

from sim import document, wording
from sim.document import Document, Location, dotted
from sim.errors import Fault, PlanError, ScenarioError, hint
from sim.parts import FROM_TEXT, Fraction, Name, Part
from train.choices import Data, Model, Optimiser, Schedule, Start
from train.choices.data import Digits, SyntheticTokens
from train.choices.models import Gpt, Textbook
from train.choices.optimisers import Sgd
from train.choices.schedules import Constant
from train.choices.starts import RandomStart

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

FILES = (("data", "path"), ("start", "path"), ("distil", "teacher"))
"""Fields that name a file or a folder."""

SHORT_FORMS = ("data", "model", "start", "optimiser", "schedule")
"""Fields where a kind may stand alone: ``data: mnist`` for ``data: {kind: mnist}``."""


class Augment(Part):
    """Random changes of the training images, drawn anew each time an image is seen."""

    shift_pixels: float = Field(0.0, ge=0, description="largest shift in each direction")
    rotate_degrees: float = Field(0.0, ge=0, le=180, description="largest rotation to either side")
    scale: Fraction = Field(0.0, description="largest change of size to either side")
    flip: bool = Field(False, description="mirror every second image, left and right")


class EarlyStopping(Part):
    """Stop when validation has not got better for some epochs, and keep the weights of the best one."""

    patience: int = Field(3, ge=1, description="epochs without a better one before it stops")
    metric: Literal["validation_loss", "validation_accuracy"] = Field(
        "validation_loss", description="what has to get better"
    )


class Transfer(Part):
    """Train a new head on the body of a trained model, then the whole model."""

    frozen_epochs: int = Field(1, ge=0, description="first epochs, in which only the new head learns")
    body_learning_rate: Fraction = Field(
        0.1, description="learning rate of the unfrozen body, as a part of the head's"
    )


class Distil(Part):
    """Learn from the outputs of a trained teacher as well as from the labels (Hinton et al., 2015)."""

    teacher: Path = Field(description="checkpoint, or the folder of a training, of the teacher")
    temperature: float = Field(4.0, gt=0, description="softens the outputs of both before they are compared")
    weight: Fraction = Field(0.7, description="part of the loss that compares with the teacher")


class Compress(Part):
    """Make the trained model smaller: remove the smallest weights, store the others in 8 bits."""

    prune: Fraction = Field(0.0, description="part of the weights to set to zero, the smallest of all layers")
    retrain_epochs: int = Field(1, ge=0, description="epochs of training after pruning, with these kept zero")
    int8: bool = Field(True, description="store weights, and compute where the CPU can, in 8 bits")


class Recipe(Part):
    """One training: this model on these data, started and updated so, on whatever device there is."""

    name: Name = Field(description="heads the report")
    description: str = Field("", description="what the recipe is to show")
    seed: int = Field(0, ge=0, lt=2**31, description="fixes every random draw")
    deterministic: bool = Field(False, description="same bits on the same machine, at some speed")
    data: Data = Field(Digits(), description="what is learnt")
    augment: Augment | None = Field(None, description="random changes of the training images")
    model: Model = Field(Textbook(), description="what learns")
    start: Start = Field(RandomStart(), description="the first weights")
    optimiser: Optimiser = Field(Sgd(), description="how weights are updated")
    schedule: Schedule = Field(Constant(), description="the learning rate over the training")
    label_smoothing: Fraction = Field(0.0, description="part of the label given to all classes")
    epochs: int = Field(10, ge=1, description="passes over the training data")
    batch: int = Field(100, ge=1, description="samples of one update, over all devices")
    accumulate: int = Field(1, ge=1, description="parts in which a device computes its share of a batch")
    precision: Precision = Field("fp32", description="of forward and backward; weights stay in 32 bits")
    channels_last: bool = Field(False, description="images in memory by pixel, not by channel")
    compile: bool = Field(False, description="translate the model with torch.compile first")
    activation_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass instead of keeping them"
    )
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient")
    workers: int = Field(0, ge=0, description="processes that load data")
    pin_memory: bool = Field(False, description="page-locked memory for copies to a GPU")
    early_stopping: EarlyStopping | None = Field(None, description="stop when nothing gets better")
    checkpoint_every_steps: int | None = Field(
        None, ge=1, description="updates between checkpoints; there is one after each epoch anyway"
    )
    transfer: Transfer | None = Field(None, description="train a new head on a trained body")
    distil: Distil | None = Field(None, description="learn from a teacher")
    compress: Compress | None = Field(None, description="make the trained model smaller")

    @model_validator(mode="after")
    def _parts_agree(self, info: ValidationInfo) -> Self:
        """Parts that contradict one another; from a file, ``load`` tells the same faults with their lines."""
        faults = [f"{dotted(place)}: {message}" for place, message in _disagreements(self)]
        if faults and not (info.context or {}).get("from_text"):
            raise ValueError("; ".join(faults))
        return self


def load(recipe: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file or of a shipped name, with ``field.inner=value`` settings laid over it.

    Paths in a file are relative to the folder of the file, those in settings and in shipped recipes to the
    current folder; all are absolute in the recipe, which thus means the same wherever it is written.
    Raises ScenarioError, which lists every fault with its line; PlanError if there is no such recipe.
    """
    read = document.read(_place(recipe))
    _expand_short_forms(read.values)
    _fix_paths(read.values, Path() if recipe in names() else read.path.parent)
    for setting in overrides:
        document.override(read, setting)
        _expand_short_forms(read.values)
    _fix_paths(read.values, Path())
    found, faults = _validate(read)
    faults = read.faults + faults
    if found is None or faults:
        raise ScenarioError(
            str(read.path), sorted(faults, key=lambda fault: (fault.line is None, fault.line or 0))
        )
    return found


def parse(values: Mapping[str, Any]) -> Recipe:
    """The recipe that was stored as ``plain`` gives it; ValidationError if it is none."""
    return Recipe.model_validate(_frozen(values), context=FROM_TEXT)


def plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as mappings, lists, text and numbers."""
    return recipe.model_dump(mode="json", by_alias=True)


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, all defaults written out."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    text = io.StringIO()
    yaml.dump(plain(recipe), text)
    return text.getvalue()


def names() -> tuple[str, ...]:
    """The names of the recipes that ship with dcplan."""
    folder = files("train") / "recipes"
    return tuple(sorted(file.name.removesuffix(".yaml") for file in folder.iterdir()))


def _place(recipe: str) -> Path:
    """The file of a recipe: a path, or a name of ours."""
    if recipe in names():
        return Path(str(files("train") / "recipes" / f"{recipe}.yaml"))
    path = Path(recipe)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return path
    raise PlanError(f'"{recipe}" is neither a file nor a recipe of dcplan; {hint(recipe, names())}')


def _expand_short_forms(values: dict[str, Any]) -> None:
    for name in SHORT_FORMS:
        if isinstance(values.get(name), str):
            values[name] = {"kind": values[name]}


def _fix_paths(values: Mapping[str, Any], folder: Path) -> None:
    """Make relative paths absolute, as seen from a folder."""
    for part, field in FILES:
        inner = values.get(part)
        if isinstance(inner, dict) and isinstance(inner.get(field), str) and inner[field]:
            inner[field] = str((folder / inner[field]).absolute())


def _validate(read: Document) -> tuple[Recipe | None, list[Fault]]:
    try:
        recipe = Recipe.model_validate(_frozen(read.values), strict=True, context=FROM_TEXT)
    except ValidationError as error:
        return None, wording.faults(error.errors(include_url=False), read, Recipe)
    return recipe, [read.fault(place, message) for place, message in _disagreements(recipe)]


def _frozen(value: Any) -> Any:  # noqa: ANN401 - plain values of any shape
    """Plain values with tuples for lists, as frozen models hold them."""
    if isinstance(value, Mapping):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list) else value


def _disagreements(recipe: Recipe) -> Iterator[tuple[Location, str]]:
    """What contradicts itself in a recipe: the field, and the remedy."""
    tokens = isinstance(recipe.data, SyntheticTokens)
    if tokens != isinstance(recipe.model, Gpt):
        wanted = "gpt" if tokens else "textbook, resnet or torchvision"
        place = "data" if tokens else "model"
        yield (place,), f"{recipe.data.kind} data are for a model of kind {wanted}"
    if tokens and recipe.channels_last:
        yield ("channels_last",), "tokens have no channels; leave it out"
    if tokens and recipe.augment:
        yield ("augment",), "tokens are no images; leave it out"
    if recipe.batch % recipe.accumulate:
        yield ("accumulate",), f"a batch of {recipe.batch} does not divide into {recipe.accumulate} parts"
    if recipe.transfer and recipe.start.kind == "random":
        yield ("transfer",), "needs a trained body; set start to pretrained or checkpoint"
    if recipe.start.kind == "pretrained" and recipe.model.kind != "torchvision":
        yield ("start",), "only models of kind torchvision come with trained weights"
    if recipe.early_stopping and not recipe.data.validation:
        yield ("early_stopping",), "needs a validation split; set data.validation, for example to 10 %"
