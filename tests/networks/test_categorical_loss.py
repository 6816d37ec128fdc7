import torch

from marl.networks.distributions import Categorical


def test_the_closed_form_gradient_is_autograds():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 7, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    actions = torch.randint(4, (5, 7), generator=generator)
    advantages, weights = (
        torch.randn(5, 7, generator=generator).double(),
        torch.rand(5, 7, generator=generator).double(),
    )
    categorical = Categorical(4)

    total, policy_loss, entropy = categorical.policy_gradient_loss(logits, actions, advantages, weights, 0.3)
    total.backward()
    fast, logits.grad = logits.grad, None
    plain_policy = -(weights * advantages * categorical.log_prob(logits, actions)).sum()
    plain_entropy = (weights * categorical.entropy(logits)).sum()
    (plain_policy - 0.3 * plain_entropy).backward()

    torch.testing.assert_close(fast, logits.grad)
    torch.testing.assert_close(policy_loss, plain_policy.detach())
    torch.testing.assert_close(entropy, plain_entropy.detach())
