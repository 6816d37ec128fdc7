"""Numbers for people: enough digits to tell them apart, and no negative zero."""

import math

_HUGE, _TINY = 1e15, 1e-4  # beyond these, a power of ten says more than all digits in a row


def decimals(*values: float, figures: int = 3) -> int:
    """How many decimals numbers that stand together need: as many as ``figures`` up to 1, one fewer up to 10, two fewer
    from there on; more where all are small.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest == 0.0:
        return figures - 2
    return min(max(figures - math.ceil(math.log10(largest)), figures - 2), 12)


def number_text(value: float, places: int | None = None) -> str:
    """A number with ``places`` decimals; None: as many as ``decimals`` says.

    number_text(312.44), number_text(0.0312), number_text(-0.0)  # 312.4  0.0312  0.0
    """
    if abs(value) >= _HUGE or (places is None and 0.0 < abs(value) < _TINY):
        return f"{value:.4g}"
    return f"{value:z,.{decimals(value) if places is None else places}f}"


def spread_text(mean: float, std: float) -> str:
    """A mean and its deviation, with the same decimals."""
    places = decimals(mean, std)
    return f"{number_text(mean, places)} ± {number_text(std, places)}"


def exact_text(value: float) -> str:
    """A number as somebody has set it, such as the return that counts as solved."""
    return f"{value:z,.10g}"


def bytes_text(number: float) -> str:
    """Bytes as a person would say them, such as 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError("the last unit returns")
