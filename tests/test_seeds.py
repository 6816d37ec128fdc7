from itertools import product

import pytest

from marl.seeds import ACTIONS, ENVIRONMENTS, integer, integers, stream


def test_streams_differ_in_every_part_and_repeat() -> None:
    """Neighbouring seeds share no stream with neighbouring workers, as seed + rank would."""
    found = [
        integer(stream(seed, child=child, worker=worker, purpose=purpose, interval=interval))
        for seed, child, worker, purpose, interval in product(
            range(4), range(3), range(4), (ENVIRONMENTS, ACTIONS), range(3)
        )
    ]
    assert len(set(found)) == len(found)
    assert integer(stream(0, child=0, worker=0, purpose=ENVIRONMENTS, interval=0)) == found[0]


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_what_gymnasium_takes(seed: int) -> None:
    sequence = stream(seed, child=0, worker=0, purpose=ENVIRONMENTS, interval=0)
    found = integers(sequence, 100)
    assert len(set(found)) == 100
    assert all(0 <= each < 2**31 and type(each) is int for each in [*found, integer(sequence)])
