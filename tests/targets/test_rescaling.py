import torch

from marl.targets.rescaling import compressed, expanded

SIZES = torch.tensor([0.0, 1e-6, 1e-3, 0.1, 1.0, 7.5, 300.0, 1e5], dtype=torch.float64)
VALUES = torch.cat([SIZES, -SIZES])


def literal(x: float) -> float:
    sign = (x > 0) - (x < 0)
    return sign * ((abs(x) + 1) ** 0.5 - 1) + 0.001 * x


def papers_inverse(x: float) -> float:
    sign, e = (x > 0) - (x < 0), 0.001
    return sign * ((((1 + 4 * e * (abs(x) + 1 + e)) ** 0.5 - 1) / (2 * e)) ** 2 - 1)


def test_both_are_the_papers_formulas() -> None:
    expected = torch.tensor([literal(x) for x in VALUES.tolist()], dtype=torch.float64)
    torch.testing.assert_close(compressed(VALUES), expected, rtol=1e-12, atol=1e-15)
    back = torch.tensor([papers_inverse(x) for x in VALUES.tolist()], dtype=torch.float64)
    torch.testing.assert_close(expanded(VALUES), back, rtol=1e-9, atol=1e-9)


def test_there_and_back_loses_no_digits_of_float32() -> None:
    single = VALUES.float()
    torch.testing.assert_close(expanded(compressed(single)), single, rtol=1e-5, atol=1e-6)
