"""What the exchanges share whose parent merges weights: weights and pairwise."""
