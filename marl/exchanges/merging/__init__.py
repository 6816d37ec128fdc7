"""The common part of the exchanges whose parent merges weights: weights and pairwise."""
