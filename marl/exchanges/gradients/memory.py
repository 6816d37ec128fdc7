"""What a node's workers and its contact share, beside weights and optimizer: the parts of a round.

A round is one sum over all workers of all children: of the gradients of a minibatch, or of a few numbers. A worker
writes its part, last of all the number of the round, and waits until that round is over.
"""

import math

import torch

from marl.data.layout import Leaf, Tree
from marl.exchanges.run import RunSettings, most_updates

NOTHING, GRADIENT, SUMS = range(3)  # kinds of a part; nothing: the worker has no part in this round
NEW, MEMBER, AWAY = range(3)  # states of a worker: waited for, until it has died; then not, until it has a part again
NUMBER, KIND, STATE = range(3)  # columns of "part"
BUSY = 3  # column of "part_numbers": seconds until the worker wrote the part, with clock.virtual
ANEW = 2**40  # added to "round" each time a child takes over the parent's weights; no run has as many rounds
SUMS_OF_A_MINIBATCH = 4  # numbers at most that an algorithm adds up for each
SUMS_OF_A_SAMPLE = 2  # numbers that are added up before samples are drawn, see ``ShardedSamples``


def round_fields(workers: int, num_parameters: int, sums: int) -> dict[str, Tree]:
    """What a node's memory needs."""
    return {
        "part": Leaf((workers, 8), torch.int64),  # for which "round", see above
        "part_numbers": Leaf((workers, 8), torch.float64),  # of the part: transitions, rate, largest weight; see BUSY
        "part_gradient": Leaf((workers, num_parameters), torch.float32),  # sum over the transitions of the part
        "part_sums": Leaf((workers, sums), torch.float64),
        "round": Leaf((8,), torch.int64),  # [0]: number of the last round that is over, and see ANEW
        "round_bell": Leaf((8,), torch.int64),  # rung when it is over, see ``Bell``
        "part_bell": Leaf((8,), torch.int64),  # rung when a part is there
        "round_norm": Leaf((8,), torch.float64),  # of its mean gradient, before clipping
        "round_sums": Leaf((sums,), torch.float64),
    }


def rounds_of(run: RunSettings) -> int:
    """Rounds of each trajectory: one for each minibatch, one for each time that numbers are added up. With a replay all
    first add up how many minibatches are due.
    """
    if run.algorithm.from_transitions:
        return 1 + int(most_updates(run))
    return math.ceil(run.algorithm.batches_per_trajectory()) + run.algorithm.sums_per_trajectory()


def num_sums(run: RunSettings) -> int:
    """The most numbers that are added up at once."""
    if run.algorithm.from_transitions:
        return SUMS_OF_A_SAMPLE
    return SUMS_OF_A_MINIBATCH * math.ceil(run.algorithm.batches_per_trajectory())


def most_transitions(run: RunSettings) -> int:
    """The most transitions that the part of a worker has."""
    length = run.algorithm.t_max
    if run.algorithm.from_transitions:  # whole sequences, where the network remembers
        return -(-run.replay.batch_size // length) * length
    return length * run.environment.per_worker
