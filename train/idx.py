"""Files in the idx format of MNIST: a magic number, the lengths of all dimensions, then bytes.

The format is described at http://yann.lecun.com/exdb/mnist, "the IDX file format".
"""

import gzip
import math
from pathlib import Path

import torch
from torch import Tensor

from sim.errors import PlanError

UNSIGNED_BYTE = 8
MAGIC = 4
"""Bytes before the dimensions: two zeros, the type, the number of dimensions."""


def read(path: Path) -> Tensor:
    """The bytes of an idx file, gzipped or not, in their dimensions; PlanError if it is damaged."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError) as error:
        raise PlanError(f"{path}: cannot be read: {error}") from error
    if len(content) < MAGIC or content[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise PlanError(f"{path}: this is no idx file of bytes; fetch it again")
    start = MAGIC + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(MAGIC, start, 4)]
    if len(content) - start != math.prod(shape):
        raise PlanError(
            f"{path}: {math.prod(shape):,} bytes are announced, {len(content) - start:,} are there"
        )
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)
