"""Numbers as people read them."""

import pytest

from marl.reports.numbers import decimals, exact_text, number_text, spread_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (312.44, "312.4"),
        (-200.0, "-200.0"),
        (1234567.8, "1,234,567.8"),
        (9.4321, "9.43"),
        (0.94999, "0.950"),
        (0.951, "0.951"),
        (0.0312, "0.0312"),
        (-0.04, "-0.0400"),
        (3.2e-7, "3.2e-07"),
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (1e30, "1e+30"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_three_figures_and_no_negative_zero(value: float, text: str) -> None:
    assert number_text(value) == text


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert number_text(-0.04, 1) == "0.0"
    assert spread_text(-0.004, 312.0) == "0.0 ± 312.0"
    assert exact_text(-0.0) == "0"


def test_numbers_that_stand_together_have_the_same_decimals() -> None:
    assert spread_text(0.9512, 0.03124) == "0.951 ± 0.031"
    assert decimals(0.5, -312.0, float("nan")) == 1
    assert decimals(0.5, 1.0) == 3
    assert decimals(0.5, 1.0, figures=4) == 4
    assert decimals(0.0, figures=4) == 2
