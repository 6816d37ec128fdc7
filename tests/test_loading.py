"""While libraries are loaded the collector rests; afterwards it is as it was."""

import contextlib
import gc
from collections.abc import Iterator

import pytest

from marl.loading import loading


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    was_on = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if was_on else gc.disable)()


@pytest.mark.parametrize("was_on", [False, True])
@pytest.mark.parametrize("for_good", [False, True])
def test_the_collector_rests(was_on: bool, for_good: bool) -> None:
    gc.unfreeze()
    (gc.enable if was_on else gc.disable)()
    with contextlib.suppress(ImportError), loading(for_good=for_good):
        assert not gc.isenabled()
        with loading():
            pass
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() == was_on
    assert (gc.get_freeze_count() > 0) == for_good
