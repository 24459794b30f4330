"""Training with PyTorch: recipes to train models, and measurements that calibrate the simulator."""
