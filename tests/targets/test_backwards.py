import torch

from marl.targets.backwards import backward_sums


def test_by_hand() -> None:
    terms, factors = (
        torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]),
        torch.tensor([[0.5, 0.5], [0.5, 0], [0.5, 0.5]]),
    )
    assert backward_sums(terms, factors).tolist() == [[3.0, 2.0], [4.0, 2.0], [4.0, 4.0]]
    assert backward_sums(terms, factors, torch.tensor([8.0, 8.0])).tolist() == [[4.0, 2.0], [6.0, 2.0], [8.0, 8.0]]
