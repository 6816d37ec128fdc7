"""Training: flat weights, optimizers, the training loop, files of weights."""
