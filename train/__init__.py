"""Train, measure and describe neural networks with PyTorch; the extra ``train`` brings what it needs."""
