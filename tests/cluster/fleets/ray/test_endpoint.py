"""An endpoint whose child is nowhere yet, moves, and is met where it is."""

import threading
from typing import Any

import pytest

from marl.cluster.fleets.ray.endpoint import RayEndpoint
from marl.errors import LinkClosed

PATIENCE_S = 30.0


class Place:
    """Stands for a dialer: a try says where, fails, or lasts until it is closed."""

    def __init__(self, place: str) -> None:
        self.place, self.closed, self.tried = place, threading.Event(), threading.Event()

    def meet(self) -> Any:
        self.tried.set()
        if self.place == "silent":
            assert self.closed.wait(PATIENCE_S)
        if self.place in ("silent", "dead"):
            raise LinkClosed(f"{self.place}: nobody")
        return self.place

    def close(self) -> None:
        self.closed.set()


class Dialed(list[Place]):
    def __call__(self, place: str) -> Any:
        self.append(Place(place))
        return self[-1]


def met(endpoint: RayEndpoint) -> tuple[threading.Thread, list[Any]]:
    """What another thread meets; it may have to wait."""
    found: list[Any] = []

    def meet() -> None:
        try:
            found.append(endpoint.meet())
        except LinkClosed as error:
            found.append(str(error))

    thread = threading.Thread(target=meet)
    thread.start()
    return thread, found


def test_it_is_met_once_it_is_somewhere() -> None:
    endpoint = RayEndpoint("ray-0", Dialed())
    thread, found = met(endpoint)
    endpoint.move("10.0.0.7:5050")
    thread.join(PATIENCE_S)
    assert found == ["10.0.0.7:5050"]


def test_a_try_where_it_was_goes_on_where_it_is() -> None:
    dialed = Dialed()
    endpoint = RayEndpoint("ray-0", dialed)
    endpoint.move("silent")
    thread, found = met(endpoint)
    assert dialed[0].tried.wait(PATIENCE_S)
    endpoint.move("10.0.0.8:5050")
    thread.join(PATIENCE_S)
    assert found == ["10.0.0.8:5050"]


def test_a_try_that_fails_where_it_is_fails() -> None:
    endpoint = RayEndpoint("ray-0", Dialed())
    endpoint.move("dead")
    with pytest.raises(LinkClosed, match="dead: nobody"):
        endpoint.meet()


@pytest.mark.parametrize("place", [None, "silent"], ids=["nowhere", "silent"])
def test_closing_ends_who_waits(place: str | None) -> None:
    dialed = Dialed()
    endpoint = RayEndpoint("ray-0", dialed)
    endpoint.move(place)
    thread, found = met(endpoint)
    assert place is None or dialed[0].tried.wait(PATIENCE_S)
    endpoint.close()
    endpoint.close()
    thread.join(PATIENCE_S)
    assert found == ["ray-0: this side dials no more"]
    endpoint.move("10.0.0.7:5050")  # too late
    with pytest.raises(LinkClosed):
        endpoint.meet()
