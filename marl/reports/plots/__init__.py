"""Learning curves and distributions of returns, and their pictures."""
