"""The data loader on its own: JPEG files read, decoded, cut to size, made into batches; nobody computes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from sim.profile import LoaderRow
from train.measure.case import why_not
from train.measure.job import passes

STORED_PIXELS, CUT_PIXELS, QUALITY = 256, 224, 90
DIFFERENT_FILES = 64


class JpegFiles(Dataset[tuple[Tensor, int]]):
    """Images of a folder, again and again until there are enough, prepared as training does it."""

    def __init__(self, folder: Path, images: int) -> None:
        self.files = sorted(folder.glob("*.jpg"))
        self.images = images
        self.prepare = v2.Compose(
            [
                v2.RandomResizedCrop(CUT_PIXELS),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.files[index % len(self.files)]) as image:
            return self.prepare(image.convert("RGB")), 0


@dataclass(frozen=True, slots=True)
class Loader:
    """Loading with so many worker processes; 0 is the process that trains."""

    workers: int
    images: int
    folder: Path
    batch: int = 16

    def measure(self, budget_s: float, *, first: bool) -> Iterator[LoaderRow]:  # noqa: ARG002 - as long as it takes
        """One row."""
        what = {
            "source": f"jpeg {STORED_PIXELS} px to {CUT_PIXELS} px",
            "workers": self.workers,
            "batch": self.batch,
            "images": self.images,
        }
        try:
            with jpeg_files(self.folder) as (folder, bytes_per_image):
                times_s = self._times_s(JpegFiles(folder, self.images))
        except (RuntimeError, MemoryError, OSError) as error:
            yield LoaderRow(**what, bytes_per_image=1, **why_not(error))
            return
        yield LoaderRow(**what, bytes_per_image=bytes_per_image, time_s=times_s, pass_index=passes(times_s))

    def _times_s(self, dataset: JpegFiles) -> tuple[float, ...]:
        """Seconds of two epochs, after one in which the workers start."""
        loader = DataLoader(
            dataset, self.batch, num_workers=self.workers, persistent_workers=self.workers > 0
        )
        _, *times_s = [_epoch_s(loader) for _ in range(3)]
        return tuple(times_s)


def _epoch_s(loader: DataLoader[tuple[Tensor, int]]) -> float:
    start_s = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - start_s


@contextmanager
def jpeg_files(parent: Path) -> Iterator[tuple[Path, float]]:
    """A folder of images that compress as photographs do, and the mean size of their files."""
    with TemporaryDirectory(dir=parent, prefix=".dcplan-images-") as name:
        folder = Path(name)
        draw = torch.Generator().manual_seed(0)
        for number in range(DIFFERENT_FILES):
            _image(draw).save(folder / f"{number:03}.jpg", quality=QUALITY)
        sizes = [file.stat().st_size for file in folder.iterdir()]
        yield folder, sum(sizes) / len(sizes)


def _image(draw: torch.Generator) -> Image.Image:
    """Smooth colours with some grain."""
    coarse = torch.rand(1, 3, 16, 16, generator=draw)
    size = (STORED_PIXELS, STORED_PIXELS)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0]
    grain = torch.randn(3, *size, generator=draw) * 0.02
    pixels = ((smooth + grain).clamp(0, 1) * 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
