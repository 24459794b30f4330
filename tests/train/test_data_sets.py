"""Data: the same splits and batches for the same seed, whoever shares them; what is absent is told."""

import gzip
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from sim.errors import PlanError
from train import idx, preprocess, sources
from train.choices.data import Cifar10, Digits, FashionMnist, Folder, Mnist, SyntheticImages, SyntheticTokens
from train.config import Augment
from train.data import Batches, Task, loader

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NOWHERE = Path("nowhere")


def write_idx(path: Path, values: torch.Tensor) -> None:
    head = bytes([0, 0, 8, values.dim()]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    content = head + values.to(torch.uint8).numpy().tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(folder: Path, name: str = "MNIST", suffix: str = "") -> None:
    for split, samples in (("train", 40), ("t10k", 20)):
        labels = torch.arange(samples) % 10
        images = labels[:, None, None].expand(-1, 28, 28) * 20
        write_idx(folder / name / "raw" / f"{split}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / name / "raw" / f"{split}-labels-idx1-ubyte{suffix}", labels)


@pytest.mark.parametrize(("wanted", "name"), [(Mnist(), "MNIST"), (FashionMnist(), "FashionMNIST")])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_are_read_zipped_or_not(tmp_path: Path, wanted: Mnist, name: str, suffix: str) -> None:
    write_mnist(tmp_path, name, suffix)
    splits = sources.read(wanted, tmp_path, seed=1)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (36, 4, 20)
    assert (splits.task.shape, splits.task.classes) == ((1, 28, 28), 10)
    images, labels = splits.test[13]
    assert (images.unique().tolist(), labels.tolist()) == ([60], [3])


@pytest.mark.parametrize("wanted", [Mnist(), FashionMnist(), Cifar10()])
def test_data_that_are_not_there_are_told_with_the_remedy(tmp_path: Path, wanted: Mnist) -> None:
    with pytest.raises(PlanError, match=r"is not there .*--download.*--data-dir.*digits"):
        sources.read(wanted, tmp_path, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_damaged_idx_files_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PlanError, match="31,360 bytes are announced, 31,359 are there"):
        idx.read(path)
    path.write_bytes(b"<html>")
    with pytest.raises(PlanError, match="no idx file"):
        sources.read(Mnist(), tmp_path, seed=1)
    write_idx(path, torch.zeros(3, 28, 28))
    with pytest.raises(PlanError, match="3 images of train have 40 labels"):
        sources.read(Mnist(), tmp_path, seed=1)


@pytest.mark.skipif(not SHARED.exists(), reason="needs MNIST beside the repository")
def test_mnist_itself_is_read() -> None:
    splits = sources.read(Mnist(validation=0.05), SHARED, seed=1)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (57_000, 3_000, 10_000)
    assert splits.task.mean[0] == pytest.approx(0.1307, abs=2e-4)
    assert splits.task.deviation[0] == pytest.approx(0.3081, abs=2e-4)


def write_images(folder: Path, *, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for shade, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(6):
                Image.new("RGB", (20 + number, 30), (40 + 150 * shade,) * 3).save(place / f"{number}.png")


def test_an_image_folder_is_read_by_class_and_cut_to_squares(tmp_path: Path) -> None:
    write_images(tmp_path)
    splits = sources.read(Folder(path=tmp_path, resize=16, validation=0.25), NOWHERE, seed=1)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (9, 3, 12)
    images, labels = splits.test.__getitems__([0, 11])
    assert images.shape == (2, 3, 16, 16)
    assert (images[:, 0, 0, 0].tolist(), labels.tolist()) == ([40, 190], [0, 1])


def test_a_folder_that_is_none_of_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="looked for at train/CLASS"):
        sources.read(Folder(path=tmp_path), NOWHERE, seed=1)
    write_images(tmp_path)
    (tmp_path / "train" / "cat" / "3.png").write_bytes(b"none")
    splits = sources.read(Folder(path=tmp_path, resize=8), NOWHERE, seed=1)
    with pytest.raises(PlanError, match=r"3\.png: this is no image"):
        splits.train.__getitems__(range(len(splits.train)))


def test_classes_and_samples_can_be_chosen() -> None:
    splits = sources.read(Digits(classes=(7, 3), samples=50, validation=0.2), NOWHERE, seed=1)
    assert (len(splits.train), len(splits.validation), splits.task.classes) == (40, 10, 2)
    whole = sources.read(Digits(validation=0), NOWHERE, seed=1)
    sevens = whole.test.source.labels[splits.test.positions[splits.test.labels == 0]]
    assert set(sevens.tolist()) == {7}
    with pytest.raises(PlanError, match="none of these classes"):
        sources.read(Digits(classes=(11, 12)), NOWHERE, seed=1)


def test_splits_do_not_overlap_and_follow_from_the_seed() -> None:
    first, again, other = (sources.read(Digits(), NOWHERE, seed=seed) for seed in (1, 1, 2))
    train, validation = set(first.train.positions.tolist()), set(first.validation.positions.tolist())
    assert train.isdisjoint(validation)
    assert len(train | validation) == 1438
    assert again.validation.positions.tolist() == first.validation.positions.tolist()
    assert other.validation.positions.tolist() != first.validation.positions.tolist()


def test_synthetic_data_have_the_shape_that_was_asked_for() -> None:
    images = sources.read(SyntheticImages(size=8, samples=20, number_of_classes=5), NOWHERE, seed=1)
    assert (images.task.shape, images.task.classes, len(images.test)) == ((3, 8, 8), 5, 5)
    tokens = sources.read(SyntheticTokens(length=10, vocabulary=16, samples=20), NOWHERE, seed=1)
    inputs, labels = tokens.test[0]
    assert inputs[0, 1:].tolist() == labels[0, :-1].tolist()


def test_processes_and_parts_share_the_batches_of_one_process() -> None:
    alone = list(Batches(50, 12, 1, seed=5, rank=0, world=1))
    shared = [list(Batches(50, 12, 3, seed=5, rank=rank, world=2)) for rank in (0, 1)]
    for step, batch in enumerate(alone):
        parts = [part for one in shared for part in one[3 * step : 3 * step + 3]]
        assert [sample for part in parts for sample in part] == batch


def test_an_epoch_can_be_taken_up_in_the_middle() -> None:
    batches = Batches(50, 10, 1, seed=5, rank=0, world=1)
    batches.go_to(epoch=2, done=0)
    whole = list(batches)
    batches.go_to(epoch=2, done=3)
    assert list(batches) == whole[3:]
    batches.go_to(epoch=3, done=0)
    assert list(batches) != whole


def test_batches_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(PlanError, match="10 does not divide into 4 processes x 1 parts"):
        Batches(50, 10, 1, seed=1, rank=0, world=4)
    with pytest.raises(PlanError, match="5 training samples do not fill a batch of 10"):
        Batches(5, 10, 1, seed=1, rank=0, world=1)


def test_loader_processes_serve_the_same_batches_and_draw_no_random_numbers() -> None:
    split = sources.read(Digits(samples=40), NOWHERE, seed=1).train
    before = torch.get_rng_state()
    served = [
        list(loader(split, Batches(len(split), 12, 1, 1, 0, 1), workers, pinned=True)) for workers in (0, 2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(*served, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_preprocessing_scales_resizes_and_normalises() -> None:
    task = Task((1, 16, 16), 10, (0.5,), (0.25,))
    images = preprocess.scaled(torch.full((2, 1, 8, 8), 255, dtype=torch.uint8), task)
    assert images.shape == (2, 1, 16, 16)
    assert preprocess.normalised(images, task).unique().tolist() == [2.0]


def test_augmentation_moves_images_and_follows_from_the_seed() -> None:
    images = torch.zeros(64, 1, 9, 9)
    images[:, :, 4, 4] = 1.0
    torch.manual_seed(1)
    moved = preprocess.augmented(images, Augment(shift_pixels=2))
    torch.manual_seed(1)
    assert torch.equal(moved, preprocess.augmented(images, Augment(shift_pixels=2)))
    assert moved.sum(dim=(1, 2, 3)) == pytest.approx(torch.ones(64), abs=1e-5)
    assert not moved[:, :, :2].any()
    assert not moved[:, :, :, 7:].any()
    assert torch.equal(preprocess.augmented(images, Augment()), images)


def test_about_every_second_image_is_mirrored() -> None:
    images = torch.arange(4.0).expand(200, 1, 4, 4)
    torch.manual_seed(1)
    mirrored = preprocess.augmented(images, Augment(flip=True))[:, 0, 0, 0] > 1
    assert 80 < int(mirrored.sum()) < 120
