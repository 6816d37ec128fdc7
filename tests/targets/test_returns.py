import torch

from marl.targets.returns import mean_weights, n_step_advantages, next_values


def test_n_step_return_by_hand():
    rewards = torch.tensor([[1.0], [2.0], [3.0]])
    values = torch.tensor([[10.0], [20.0], [30.0]])
    following = torch.tensor([[20.0], [30.0], [40.0]])
    never = torch.zeros(3, 1, dtype=torch.bool)
    advantages = n_step_advantages(rewards, values, following, never, never, discount=0.5)
    # 3 + .5 * 40 = 23; 2 + .5 * 23 = 13.5; 1 + .5 * 13.5 = 7.75
    torch.testing.assert_close(advantages.squeeze(), torch.tensor([7.75 - 10, 13.5 - 20, 23 - 30.0]))


def test_a_cut_episode_bootstraps_from_its_true_last_observation():
    values = torch.arange(6.0).view(3, 2)
    following = next_values(values, torch.tensor([99.0]), torch.tensor([1]))
    assert following.tolist() == [[2.0, 99.0], [4.0, 5.0]]


def test_weights_ignore_resets():
    valid = torch.tensor([[True, False], [True, True]])
    torch.testing.assert_close(mean_weights(valid), torch.tensor([[1 / 3, 0], [1 / 3, 1 / 3]]))
