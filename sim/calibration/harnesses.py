"""How the sources of the published tables measured, where a table leaves it open or has it otherwise.

All of it is read off the scripts that the sources publish with their figures:

- NVIDIA: github.com/NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/configs.yml,
  TensorFlow2/Classification/ConvNets/efficientnet_v*/*/training/*/train_benchmark_*.sh,
  MxNet/Classification/RN50v1.5/runner, PaddlePaddle/Classification/RN50v1.5/scripts/training.
- Lambda: github.com/lambdal/deeplearning-benchmark, pytorch/scripts/config_v1/config_pytorch_*GB.sh and
  benchmark_pytorch.sh. They run NVIDIA's main.py without ``--memory-format``, which then is NCHW, and with
  ``NCCL_P2P_DISABLE=1``, so that gradients go through the host's memory.
- FFCV: github.com/libffcv/ffcv-imagenet, rn18_configs, rn50_configs and train_imagenet.py. Four fifths of the
  epochs have images of 160 pixels, the others 192; a batch is that of one GPU.
"""

from __future__ import annotations

from collections.abc import Mapping

from sim.perf.step_time import NARROW, Layout, Precision

USUAL_BATCH = 128
USUAL_SIZES: Mapping[str, int] = {"efficientnet-b0": 224, "efficientnet-b4": 380, "efficientnetv2-s": 300}
FFCV_SIZE = 167
"""Pixels of the image with the mean area of 160 and 192 pixels, four to one."""
FFCV_BATCHES: Mapping[str, int] = {"resnet18": 1024, "resnet50": 512}

Batches = Mapping[tuple[str, str], tuple[int, int]]
"""By network and beginning of the GPU's name: samples on each GPU in half precision, and otherwise."""

BATCHES: Mapping[str, Batches] = {
    "pytorch": {
        ("efficientnet-b0", "a100"): (256, 256),
        ("efficientnet-b0", "v100-sxm2-32gb"): (256, 128),
        ("efficientnet-b0", "v100-sxm2-16gb"): (128, 64),
        ("efficientnet-b4", "a100"): (128, 64),
        ("efficientnet-b4", "v100-sxm2-32gb"): (64, 32),
        ("efficientnet-b4", "v100-sxm2-16gb"): (32, 16),
    },
    "tensorflow2": {
        ("efficientnet-b0", "a100"): (1024, 512),
        ("efficientnet-b0", "v100"): (512, 256),
        ("efficientnet-b4", "a100"): (160, 80),
        ("efficientnet-b4", "v100"): (64, 32),
        ("efficientnetv2-s", "a100"): (460, 230),
        ("efficientnetv2-s", "v100"): (128, 64),
    },
    "mxnet": {("resnet50", ""): (192, 192)},
    "paddle": {("resnet50", ""): (256, 256)},
}
LAMBDA_BATCH_PER_GB = (16, 8)
"""Samples for each GB of a GPU's memory: 1,280 and 640 for 80 GB."""


def batch(source: str, framework: str, model: str, gpu: str, precision: Precision, memory_gb: float) -> int:
    """Samples on each GPU in a row that does not tell."""
    half = 0 if precision in NARROW else 1
    if source.startswith("Lambda"):
        return round(LAMBDA_BATCH_PER_GB[half] * memory_gb)
    if "ffcv" in framework:
        return FFCV_BATCHES.get(model, USUAL_BATCH)
    known = BATCHES.get(framework.partition("+")[0], {}) if source.startswith("NVIDIA") else {}
    return next(
        (
            sizes[half]
            for (network, beginning), sizes in known.items()
            if model == network and gpu.startswith(beginning)
        ),
        USUAL_BATCH,
    )


def layout(source: str, framework: str, precision: Precision, told: str) -> Layout:
    """How images lie in memory: as the table tells, but for those whose scripts say otherwise."""
    of_source = source.startswith("Lambda") or (
        source.startswith("NVIDIA") and framework.startswith(("mxnet", "paddle")) and precision not in NARROW
    )
    return "nchw" if of_source or told != "nhwc" else "nhwc"


def image_size(framework: str, model: str) -> int:
    """Pixels of an image's side in a row that does not tell."""
    return FFCV_SIZE if "ffcv" in framework else USUAL_SIZES.get(model, 224)


def through_the_host(source: str) -> bool:
    """Whether gradients take the way through the host's memory although GPUs have links of their own."""
    return source.startswith("Lambda")


def fuses(source: str, framework: str, precision: Precision) -> bool:
    """Whether activations and sums are done along with other operators: by a compiler, or in the layers."""
    layers = source.startswith("NVIDIA") and framework.startswith(("mxnet", "paddle")) and precision in NARROW
    return layers or "xla" in framework
