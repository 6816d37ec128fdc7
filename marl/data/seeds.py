"""Independent random streams for every worker, from one seed."""

import numpy as np

# Streams of one worker. The cluster adds the child's rank; one machine alone is child 0.
ENVIRONMENTS, ACTIONS, NETWORK, EVALUATION, REPLAY, DECISIONS, LEARNING = range(7)


def stream(seed: int, *, child: int, worker: int, purpose: int, segment: int) -> np.random.SeedSequence:
    """The random stream of one worker for one purpose; ``segment`` counts checkpoints and resumes.

    ``seed + rank`` would make workers of neighbouring seeds share streams; a spawn key never does.
    """
    return np.random.SeedSequence(seed, spawn_key=(child, worker, purpose, segment))


def first_segment(term: int) -> int:
    """Where the segments begin of a run that was resumed and saves none; ``term`` counts its lives from 1."""
    return max(0, term - 1) << 16


def integer(sequence: np.random.SeedSequence) -> int:
    """One seed below 2**31 (gymnasium wants a small non-negative integer)."""
    return int(sequence.generate_state(1, np.uint32)[0] >> 1)


def integers(sequence: np.random.SeedSequence, count: int) -> list[int]:
    """Several seeds, one an environment."""
    return [int(word >> 1) for word in sequence.generate_state(count, np.uint32)]
