"""How long work takes on a device: pure functions of what a model computes and what a device can do."""
