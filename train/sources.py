"""The readers of data sets, one for each kind that a recipe can name.

Nothing is downloaded unless that is asked for. Data that are not there are an error that says what to do.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sim.errors import PlanError
from train import extra, idx
from train.choices.data import (
    Cifar10,
    Digits,
    FashionMnist,
    Folder,
    Images,
    Mnist,
    Samples,
    SyntheticImages,
    SyntheticTokens,
)
from train.data import Labelled, Split, Splits, Task, generator, held_out, whole

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of the training images of ImageNet by channel, as torchvision's models expect them (its documentation)."""

TEST_FRACTION = 0.2
"""Part of the digits of scikit-learn that is kept to test; they come without a split."""

DEFAULT_SAMPLES = 1024
"""Of synthetic data, when a recipe asks for all there are."""

LOOKED_AT = 50_000_000
"""Values from which mean and deviation of images are taken, enough for all of MNIST."""

Pair = tuple[Labelled, Labelled]
"""A source to train with and one to test with."""


class Stored:
    """Samples that fit in memory."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.stored = inputs
        self.labels = labels

    def inputs(self, positions: Tensor) -> Tensor:
        """The inputs at these positions."""
        return self.stored[positions]


class ImageFiles:
    """Images that are decoded when they are needed, cut to a square."""

    def __init__(self, paths: list[str], labels: Tensor, size: int) -> None:
        self.paths = paths
        self.labels = labels
        self.size = size

    def inputs(self, positions: Tensor) -> Tensor:
        """The images at these positions."""
        return torch.stack([self._image(self.paths[position]) for position in positions.tolist()])

    def _image(self, path: str) -> Tensor:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - comes with torchvision
        from torchvision.transforms import functional as images  # noqa: PLC0415 - as above

        try:
            with Image.open(path) as file:
                found = images.resize(images.pil_to_tensor(file.convert("RGB")), [self.size], antialias=True)
        except (UnidentifiedImageError, OSError) as error:
            raise PlanError(f"{path}: this is no image, or a damaged one") from error
        square: Tensor = images.center_crop(found, [self.size])
        return square


def read(wanted: Samples, folder: Path, seed: int, *, download: bool = False) -> Splits:
    """The splits of a data set, looked for in a folder; PlanError, with the remedy, if it is not there."""
    extra.require()
    train_source, test_source = READERS[type(wanted)](wanted, folder, download)
    classes = wanted.classes if isinstance(wanted, Images) else None
    learnt, test = whole(train_source, classes), whole(test_source, classes)
    if not len(learnt) or not len(test):
        raise PlanError(f"data.classes: {wanted.model_dump()['kind']} has none of these classes")
    if wanted.samples is not None:
        learnt = _some(learnt, wanted.samples, seed)
    train, validation = held_out(learnt, wanted.validation, seed)
    return Splits(_task(wanted, learnt), train, validation, test)


def _some(split: Split, samples: int, seed: int) -> Split:
    """That many samples of a split, drawn with the seed, or all if they are fewer."""
    return split.part(torch.randperm(len(split), generator=generator(seed, 1))[:samples].sort().values)


def _task(wanted: Samples, split: Split) -> Task:
    """What a model for these samples must fit."""
    if isinstance(wanted, SyntheticTokens):
        return Task((wanted.length,), wanted.vocabulary)
    classes = wanted.number_of_classes if isinstance(wanted, SyntheticImages) else _classes(split)
    first = split.source.inputs(split.positions[:1])[0]
    mean, deviation = _statistics(split, first)
    size = (wanted.resize if isinstance(wanted, Images) else None) or first.shape[-1]
    return Task((first.shape[0], size, size), classes, mean, deviation)


def _classes(split: Split) -> int:
    return int(split.labels.max()) + 1


def _statistics(split: Split, first: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel of the images, as numbers from 0 to 1."""
    if isinstance(split.source, ImageFiles):
        return IMAGENET_MEAN, IMAGENET_DEVIATION
    enough = max(1, LOOKED_AT // first.numel())
    images = split.source.inputs(split.positions[:enough]).float() / 255
    mean, deviation = images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))
    return tuple(mean.tolist()), tuple(deviation.clamp(min=1e-6).tolist())


def _mnist(wanted: Mnist | FashionMnist, folder: Path, download: bool) -> Pair:  # noqa: FBT001 - as all readers
    name = "MNIST" if isinstance(wanted, Mnist) else "FashionMNIST"
    raw = folder / name / "raw"
    if download and not _idx_file(raw, "train", "labels-idx1").exists():
        from torchvision import datasets  # noqa: PLC0415 - needed only to download

        _fetched(lambda: getattr(datasets, name)(str(folder), download=True), name)
    if not _idx_file(raw, "train", "images-idx3").exists():
        raise _absent(name, f"{raw}/train-images-idx3-ubyte")
    return _idx_pair(raw, "train"), _idx_pair(raw, "t10k")


def _idx_file(raw: Path, split: str, what: str) -> Path:
    """The file of a split, gzipped if it is there as such only."""
    path = raw / f"{split}-{what}-ubyte"
    zipped = path.with_name(f"{path.name}.gz")
    return zipped if zipped.exists() and not path.exists() else path


def _idx_pair(raw: Path, split: str) -> Stored:
    images, labels = (idx.read(_idx_file(raw, split, what)) for what in ("images-idx3", "labels-idx1"))
    if images.dim() != 3 or len(images) != len(labels):  # noqa: PLR2004 - image, row, column
        raise PlanError(
            f"{raw}: {len(images):,} images of {split} have {len(labels):,} labels; fetch it again"
        )
    return Stored(images[:, None], labels)


def _cifar10(_: Cifar10, folder: Path, download: bool) -> Pair:  # noqa: FBT001 - as all readers
    from torchvision.datasets import CIFAR10  # noqa: PLC0415 - slow to import

    def split(*, train: bool) -> Stored:
        try:
            found = CIFAR10(str(folder), train=train, download=download)
        except RuntimeError:
            raise _absent("CIFAR-10", f"{folder}/cifar-10-batches-py") from None
        return Stored(torch.from_numpy(found.data).permute(0, 3, 1, 2), torch.tensor(found.targets))

    found: Pair = _fetched(lambda: (split(train=True), split(train=False)), "CIFAR-10")
    return found


def _folder(wanted: Folder, _: Path, __: bool) -> Pair:  # noqa: FBT001 - as all readers
    from torchvision.datasets import ImageFolder  # noqa: PLC0415 - slow to import

    try:
        train, test = (ImageFolder(str(wanted.path / split)) for split in ("train", "test"))
    except OSError as error:
        remedy = "images are looked for at train/CLASS/*.jpg and test/CLASS/*.jpg"
        raise PlanError(f"data.path: {wanted.path}: {error}; {remedy}") from error
    if train.classes != test.classes:
        raise PlanError(f"data.path: {wanted.path}: train and test have different classes")
    size = wanted.resize or 224
    first, second = (
        ImageFiles([path for path, _ in split.samples], torch.tensor(split.targets), size)
        for split in (train, test)
    )
    return first, second


def _digits(_: Digits, __: Path, ___: bool) -> Pair:  # noqa: FBT001 - as all readers
    extra.require("sklearn")
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import

    found = load_digits()
    images = torch.from_numpy(found.images / 16 * 255).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(found.target)
    order = torch.randperm(len(labels), generator=generator(0))
    tested = round(TEST_FRACTION * len(order))
    test, train = order[:tested], order[tested:]
    return Stored(images[train], labels[train]), Stored(images[test], labels[test])


def _synthetic_images(wanted: SyntheticImages, _: Path, __: bool) -> Pair:  # noqa: FBT001 - as all readers
    def made(samples: int, seed: int) -> Stored:
        random = generator(seed)
        labels = torch.randint(wanted.number_of_classes, (samples,), generator=random)
        shape = (samples, wanted.channels, wanted.size, wanted.size)
        images = torch.randint(128, shape, generator=random, dtype=torch.uint8)
        images += (127 * labels / wanted.number_of_classes).to(torch.uint8)[:, None, None, None]
        return Stored(images, labels)

    samples = wanted.samples or DEFAULT_SAMPLES
    return made(samples, 0), made(max(1, samples // 4), 1)


def _synthetic_tokens(wanted: SyntheticTokens, _: Path, __: bool) -> Pair:  # noqa: FBT001 - as all readers
    def made(samples: int, seed: int) -> Stored:
        first, step = torch.randint(1, wanted.vocabulary, (2, samples, 1), generator=generator(seed))
        counted = (first + step % 8 * torch.arange(wanted.length + 1)) % wanted.vocabulary
        return Stored(counted[:, :-1].contiguous(), counted[:, 1:].contiguous())

    samples = wanted.samples or DEFAULT_SAMPLES
    return made(samples, 0), made(max(1, samples // 4), 1)


def _fetched(fetch: Callable[[], Any], name: str) -> Any:  # noqa: ANN401 - whatever is fetched
    """What a download gives; a network that fails is the user's to mend."""
    try:
        return fetch()
    except (OSError, RuntimeError) as error:
        raise PlanError(f"{name} cannot be downloaded: {error}") from error


def _absent(name: str, looked_for: str) -> PlanError:
    return PlanError(
        f"{name} is not there ({looked_for}); fetch it with --download, name the folder that has it with "
        f"--data-dir, or train on data=digits, which needs no files"
    )


Reader = Callable[[Any, Path, bool], Pair]

READERS: Mapping[type[Samples], Reader] = {
    Mnist: _mnist,
    FashionMnist: _mnist,
    Cifar10: _cifar10,
    Folder: _folder,
    Digits: _digits,
    SyntheticImages: _synthetic_images,
    SyntheticTokens: _synthetic_tokens,
}
