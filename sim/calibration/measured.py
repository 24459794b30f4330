"""What was measured, in the form that a fit needs: a step of a network and how long it took."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.perf.step_time import Floats, Layout, Step

_VARIANT = re.compile(
    r"^(tf|ssl|swsl|gluon|ig|tv|legacy|torchvision/)_?|"
    r"_(in22ft1k|in21k|in21ft1k|22kft1k|miil|hnf|ols|ns|ap|rpn|sam|distilled|bitm|bit_teacher|bit_distilled)(?=_|$)"
)
_SIZE = re.compile(r"[_@]\d{2,3}$")
_KIN = (
    "efficientnetv2", "efficientnet", "mobilenet", "mnasnet", "fbnet", "tinynet", "hardcorenas",
    "lcnet", "resnetv2", "resnest", "resnetrs", "resnext", "res2ne", "regnet", "resmlp", "resnet",
    "repvgg", "vgg", "convnext", "convmixer", "cspresne", "darknet", "densenet", "dla", "dpn",
    "hrnet", "nfnet", "nf_re", "vovnet", "xception", "halonet", "botne", "lambda", "coatnet",
    "coat", "crossvit", "deit", "beit", "cait", "xcit", "levit", "swin", "twins", "mobilevit",
    "nest", "mixer", "gmlp", "sequencer", "volo", "poolformer", "edgenext", "vit",
)  # fmt: skip
_MOBILE = ("efficientnet", "mobilenet", "mnasnet", "fbnet", "tinynet", "hardcorenas", "lcnet")


@dataclass(frozen=True, slots=True)
class Measured:
    """One configuration and its step time, which is the median of its repetitions."""

    step: Step
    layout: Layout
    step_s: float
    compiled: bool = False
    peak_memory_bytes: float | None = None
    groups_s: tuple[float, ...] = ()
    """Of the step time, that of each of ``step_time.GROUPS``, where it was looked into."""

    @property
    def name(self) -> str:
        """The network's name."""
        return self.step.model.name


def seconds(rows: Sequence[Measured]) -> Floats:
    """The measured step times."""
    return np.array([row.step_s for row in rows])


def network_of(row: Measured) -> str:
    """The network, whatever its training recipe and image size: near-duplicates are one."""
    return plain_name(row.name)


def plain_name(name: str) -> str:
    """The name of a network without its training recipe and image size.

    >>> plain_name("tf_efficientnet_b0_ns"), plain_name("swsl_resnext50_32x4d"), plain_name("resnet18@64")
    ('efficientnet_b0', 'resnext50_32x4d', 'resnet18')
    """
    return _SIZE.sub("", _VARIANT.sub("", name))


def family_of(row: Measured) -> str:
    """The family of designs that a network belongs to; all mobile inverted bottlenecks are one."""
    name = network_of(row)
    kin = next((kin for kin in _KIN if kin in name), re.split(r"[_\d]", name)[0])
    return "mobile" if kin in _MOBILE else kin


def batch_of(row: Measured) -> str:
    """The batch, to leave out one batch size at a time."""
    return str(row.step.batch)


Key = Callable[[Measured], str]
