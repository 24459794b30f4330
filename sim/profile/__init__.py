"""A measured profile: what a machine really did, every repetition of it, in one JSON file.

``read`` refuses a file that is cut, edited, of another version or holds what cannot be a measurement.
``faults`` says why a profile must not be fitted, ``warnings`` what to bear in mind when it is.
"""

from sim.profile.checks import drift, faults, warnings
from sim.profile.file import FORMAT, VERSION, Profile, json_schema, read, write
from sim.profile.machine import Machine
from sim.profile.rows import (
    DRAWN,
    CheckpointRow,
    CollectiveRow,
    HostToDeviceRow,
    InferenceRow,
    Layout,
    LoaderRow,
    Phase,
    Precision,
    Row,
    Status,
    StorageRow,
    TrainingRow,
)

__all__ = [
    "DRAWN",
    "FORMAT",
    "VERSION",
    "CheckpointRow",
    "CollectiveRow",
    "HostToDeviceRow",
    "InferenceRow",
    "Layout",
    "LoaderRow",
    "Machine",
    "Phase",
    "Precision",
    "Profile",
    "Row",
    "Status",
    "StorageRow",
    "TrainingRow",
    "drift",
    "faults",
    "json_schema",
    "read",
    "warnings",
    "write",
]
