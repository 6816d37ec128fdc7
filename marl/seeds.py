"""Independent random streams for every worker, from one seed."""

import numpy as np

# Streams of one worker. The cluster adds the child's rank; one machine alone is child 0.
ENVIRONMENTS, ACTIONS, NETWORK, EVALUATION, REPLAY, DECISIONS, LEARNING, NOVELTY = range(8)


def stream(seed: int, *, child: int, worker: int, purpose: int, interval: int) -> np.random.SeedSequence:
    """The random stream of one worker for one purpose; ``interval`` numbers checkpoint intervals, over all resumes.

    ``seed + rank`` would make workers of neighbouring seeds share streams; a spawn key never does.
    """
    return np.random.SeedSequence(seed, spawn_key=(child, worker, purpose, interval))


def first_interval(term: int) -> int:
    """The first checkpoint interval of a run that was resumed and saves no number of it; ``term`` counts from 1."""
    return max(0, term - 1) << 16


def integer(sequence: np.random.SeedSequence) -> int:
    """One seed below 2**31 (gymnasium wants a small non-negative integer)."""
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


def integers(sequence: np.random.SeedSequence, count: int) -> list[int]:
    """Several seeds, one an environment."""
    return [int(word >> 1) for word in sequence.generate_state(count, np.uint32)]
