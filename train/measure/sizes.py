"""How much a sweep measures where the user leaves it open: quick or full, of a CPU or of a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.profile import Layout, Precision
from train.measure.drawn import THEMES

KIB, MIB = 1 << 10, 1 << 20

Variant = tuple[Precision, Layout, int]
"""A precision, a layout, and that every so-many-th batch is measured with them."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured of each thing."""

    models: tuple[str, ...]
    batches: tuple[int, ...]
    variants: tuple[Variant, ...]
    distributed: tuple[str, ...]
    distributed_batches: tuple[int, ...]
    collective_bytes: tuple[int, ...]
    copied_bytes: tuple[int, ...]
    file_bytes: int
    images: int
    passes: int
    total_s: float
    drawn: tuple[str, ...] = ()
    """Networks of one kind of operator each (`drawn`), which only train."""
    drawn_batches: tuple[int, ...] = ()
    most_flops: float = math.inf
    """Of a step; larger ones would take too long to repeat."""


QUICK_CPU = Size(
    models=("textbook", "resnet", "resnet18@64", "mobilenet_v2@64", "squeezenet1_1@64"),
    batches=(4, 8, 16),
    variants=(("fp32", "nchw", 1), ("fp32", "nhwc", 2)),
    distributed=("resnet", "squeezenet1_1@64"),
    distributed_batches=(16,),
    collective_bytes=(4 * KIB, 256 * KIB, 4 * MIB, 16 * MIB),
    copied_bytes=(MIB, 16 * MIB),
    file_bytes=64 * MIB,
    images=128,
    passes=2,
    total_s=100.0,
    drawn=tuple(f"drawn_{theme}_1@48" for theme in THEMES),
    drawn_batches=(8,),
    most_flops=2e10,
)
FULL_CPU = Size(
    models=(
        "textbook", "resnet", "resnet18@64", "resnet50@64", "mobilenet_v2@96", "mobilenet_v3_small@128",
        "shufflenet_v2_x1_0@96", "squeezenet1_1@96", "regnet_y_400mf@96", "efficientnet_b0@96", "vgg11@64",
        "alexnet@64", "densenet121@64", "resnext50_32x4d@64", "mnasnet1_0@96", "convnext_tiny@64",
        "vit_b_32@96", "gpt",
    ),
    batches=(2, 4, 8, 16, 32),
    variants=(("fp32", "nchw", 1), ("fp32", "nhwc", 2), ("bf16", "nhwc", 4)),
    distributed=("textbook", "resnet", "resnet18@64", "mobilenet_v2@96", "squeezenet1_1@96"),
    distributed_batches=(8, 32),
    collective_bytes=(4 * KIB, 32 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB),
    copied_bytes=(64 * KIB, MIB, 16 * MIB, 128 * MIB),
    file_bytes=256 * MIB,
    images=512,
    passes=3,
    total_s=800.0,
    most_flops=1.5e11,
)  # fmt: skip
QUICK_CUDA = Size(
    models=("resnet18", "resnet50", "mobilenet_v2", "vgg16", "densenet121"),
    batches=(16, 64),
    variants=(("tf32", "nchw", 1), ("bf16", "nhwc", 1)),
    distributed=("resnet50",),
    distributed_batches=(64,),
    collective_bytes=(32 * KIB, MIB, 16 * MIB, 256 * MIB),
    copied_bytes=(MIB, 64 * MIB),
    file_bytes=512 * MIB,
    images=512,
    passes=2,
    total_s=100.0,
)
FULL_CUDA = Size(
    models=(
        "resnet18", "resnet50", "resnet101", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2",
        "mobilenet_v3_large", "shufflenet_v2_x1_0", "squeezenet1_1", "regnet_y_400mf", "regnet_y_8gf",
        "efficientnet_b0", "vgg16", "densenet121", "convnext_tiny", "vit_b_16", "swin_t", "gpt@512",
    ),
    batches=(16, 32, 64, 128, 256),
    variants=(
        ("tf32", "nchw", 1), ("bf16", "nhwc", 1), ("fp32", "nchw", 3), ("fp16", "nhwc", 2),
        ("bf16", "nchw", 4), ("tf32", "nhwc", 4),
    ),
    distributed=("resnet18", "resnet50", "vgg16", "mobilenet_v2", "convnext_tiny"),
    distributed_batches=(32, 128),
    collective_bytes=(4 * KIB, 32 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB),
    copied_bytes=(64 * KIB, MIB, 16 * MIB, 256 * MIB),
    file_bytes=2048 * MIB,
    images=2048,
    passes=3,
    total_s=800.0,
)  # fmt: skip
