"""What a network remembers, as a tree; and networks that remember nothing."""

import torch
from torch import Tensor

from marl.data.layout import Leaf
from marl.networks.contract import StatelessCritic, renewed, state_tree


class Doubles(StatelessCritic):
    """Says twice of what it sees, and what that is worth."""

    def policy(self, observations: Tensor) -> Tensor:
        return 2 * observations

    def values(self, observations: Tensor) -> Tensor:
        return observations.sum(-1)


def test_rows_that_begin_are_as_at_the_start_in_every_part() -> None:
    state = {"a": torch.arange(6.0).view(3, 2), "b": (torch.arange(3), torch.ones(3, 2, 2))}
    initial = {"a": torch.full((3, 2), 9.0), "b": (torch.zeros(3, dtype=torch.int64), torch.zeros(3, 2, 2))}
    found = renewed(state, torch.tensor([False, True, False]), initial)
    assert found["a"].tolist() == [[0, 1], [9, 9], [4, 5]]
    assert found["b"][0].tolist() == [0, 0, 2]
    assert found["b"][1].sum((1, 2)).tolist() == [4, 0, 4]
    assert state["b"][0].tolist() == [0, 1, 2]  # what a trajectory may hold is as it was


class Remembers(Doubles):
    def initial_state(self, rows: int) -> object:
        return {"a": torch.zeros(rows, 2, 3), "b": (torch.zeros(rows, dtype=torch.int64),)}


def test_the_tree_of_a_state_is_of_one_environment() -> None:
    assert state_tree(Remembers()) == {"a": Leaf((2, 3), torch.float32), "b": (Leaf((), torch.int64),)}
    assert state_tree(Doubles()) == ()


def test_what_remembers_nothing_needs_a_policy_and_values() -> None:
    network, seen = Doubles(), torch.arange(12.0).view(3, 2, 2)
    decision = network.step(seen[0], network.initial_state(2))
    assert decision.parameters.tolist() == [[0, 2], [4, 6]]
    assert (decision.values, decision.state) == (None, ())
    parameters, values = network.unroll(seen, (), None, 2)
    assert torch.equal(parameters, 2 * seen[:2])
    assert values.tolist() == [[1, 5], [9, 13], [17, 21]]
