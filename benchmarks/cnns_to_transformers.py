"""How far a calibration on convolutional networks carries to transformers: the latter left out of the fit.

    python benchmarks/cnns_to_transformers.py benchmarks/profiles/cpu-2-cores*.json

A network with attention among its operators is a transformer.
"""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from sim import profile as profiles
from sim.calibration.of_profile import QUIET, fit_profiles, pooled
from sim.perf.device import training_step
from sim.perf.operators import Model


def main() -> None:
    """Print the errors by network."""
    read = [profiles.read(Path(name)) for name in sys.argv[1:]]
    models = {name: model for each in read for name, model in each.models.items()}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for place, each in enumerate(read):
            kept = tuple(row for row in each.training if not has_attention(models[row.model]))
            paths.append(Path(folder) / f"{place}.json")
            profiles.write(each.model_copy(update={"training": kept}), paths[-1])
        device = fit_profiles(paths, "cnns").device
    quantile = QUIET if read[0].machine.device == "cpu" else 0.5
    errors: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in pooled([row for each in read for row in each.training]):
        setting = (row.precision, row.layout, row.compiled)
        alone = row.world_size == 1 and row.threads in (None, read[0].machine.threads)
        known = any((each.precision, each.layout, each.compiled) == setting for each in device.settings)
        if not (alone and known and has_attention(models[row.model])):
            continue
        told = training_step(
            models[row.model], device, row.batch_per_device, row.precision, layout=row.layout
        )
        error = told.step_s / float(np.quantile(row.step_s, quantile)) - 1
        errors[row.model, row.precision, row.layout].append(error)
    for (name, precision, layout), found in errors.items():
        each = ", ".join(f"{error:+.0%}" for error in found)
        print(f"{name}, {precision} {layout}: {np.mean(np.abs(found)):.0%} on average ({each})")


def has_attention(model: Model) -> bool:
    """Whether a network is a transformer."""
    return any(operator.kind == "attention" for operator in model.operators)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main()
