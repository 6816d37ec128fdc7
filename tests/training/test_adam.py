import torch

from marl.training.optimizers import OptimizerSettings, fused_adam, plain_adam


def test_plain_and_fused_adam_are_torchs():
    settings = OptimizerSettings(epsilon=1e-5)
    start = torch.randn(50)
    reference = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.Adam([reference], lr=1e-2, betas=(0.9, 0.999), eps=1e-5)
    states = [(start.clone(), torch.zeros(50), torch.zeros(50), torch.zeros(1)) for _ in range(2)]
    for _ in range(5):
        gradient = torch.randn(50)
        reference.grad = gradient.clone()
        optimizer.step()
        for apply, (weights, mean, square, count) in zip((fused_adam, plain_adam), states, strict=True):
            count += 1
            apply(weights, gradient, mean, square, count, 1e-2, settings)
    for weights, *_ in states:
        torch.testing.assert_close(weights, reference.detach(), rtol=1e-5, atol=1e-6)
