"""Training: flat weights, optimizers, the training loop, queues of trajectories, files of weights."""
