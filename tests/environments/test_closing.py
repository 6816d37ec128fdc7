"""Every environment that was made is closed, once, whatever happens to it and to the others."""

import logging
import multiprocessing
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Text
from gymnasium.vector import AsyncVectorEnv

from marl.environments.check import examine
from marl.environments.settings import EnvironmentSettings
from marl.environments.vector import make_environments
from marl.errors import EnvironmentFault

HERE = "tests.environments.test_closing"


class Counted(gymnasium.Env[Any, Any]):
    observation_space: gymnasium.Space[Any] = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)
    made = open_now = 0

    def __init__(self) -> None:
        Counted.made += 1
        Counted.open_now += 1
        self.closed = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return np.zeros(1, np.float32), 1.0, self.t >= 10, False, {}

    def close(self) -> None:
        Counted.open_now -= not self.closed
        self.closed = True


class ThirdDoesNotStart(Counted):
    def __init__(self) -> None:
        if Counted.made == 2:
            raise RuntimeError("no licence")
        super().__init__()


class OddSpace(Counted):
    observation_space = Dict({"a": Text(5)})


class Raises(Counted):
    def step(self, action: Any) -> Any:
        raise RuntimeError("a fuse blew")


class Stopped(Counted):
    def step(self, action: Any) -> Any:
        raise KeyboardInterrupt


class RaisesInClose(Counted):
    def close(self) -> None:
        super().close()
        raise OSError("no\nsuch window")


@pytest.fixture(autouse=True)
def _none_open() -> None:
    Counted.made = Counted.open_now = 0


def settings(kind: type[Counted]) -> EnvironmentSettings:
    return EnvironmentSettings(id=f"{HERE}:{kind.__name__}", per_worker=2)


@pytest.mark.parametrize("kind", [ThirdDoesNotStart, OddSpace])
def test_where_they_cannot_be_used(kind: type[Counted]) -> None:
    with pytest.raises(EnvironmentFault):
        make_environments(settings(kind), 4)
    assert (Counted.made >= 2, Counted.open_now) == (True, 0)


def test_one_that_raises_in_close_keeps_no_other_open(caplog: pytest.LogCaptureFixture) -> None:
    environments = make_environments(settings(RaisesInClose), 3)
    with caplog.at_level(logging.WARNING):
        environments.close()
        environments.close()
    assert Counted.open_now == 0
    (line,) = caplog.messages
    assert line == (
        f"{HERE}:RaisesInClose raised in close: OSError: no such window (and 2 more): what it holds may be left behind"
    )


@pytest.mark.parametrize("kind", [Counted, OddSpace, Raises, RaisesInClose])
def test_check(kind: type[Counted]) -> None:
    report = examine(settings(kind), seed=0, seconds=0.01)
    assert Counted.open_now == 0
    assert (kind is Counted) == (report.problems == [])
    assert (kind is RaisesInClose) == any(
        "raised in close: OSError: no such window" in line for line in report.problems
    )


def test_check_that_is_stopped() -> None:
    with pytest.raises(KeyboardInterrupt):
        examine(settings(Stopped), seed=0, seconds=0.01)
    assert Counted.open_now == 0


class ExitsInClose(Counted):
    def close(self) -> None:
        super().close()
        sys.exit(3)


def test_one_that_ends_the_program_in_close(caplog: pytest.LogCaptureFixture) -> None:
    make_environments(settings(ExitsInClose), 2).close()
    assert Counted.open_now == 0
    assert "raised in close: SystemExit: 3 (and 1 more)" in caplog.text


class Alone(Counted):
    def __init__(self) -> None:
        if Counted.open_now:
            raise RuntimeError("the simulator runs already")
        super().__init__()


def test_check_where_there_is_room_for_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", {})
    gymnasium.register("Alone-v0", Alone, max_episode_steps=20)
    for name in (f"{HERE}:Alone", "Alone-v0"):
        report = examine(EnvironmentSettings(id=name, per_worker=1), seed=0, seconds=0.01)
        assert report.problems == []
        assert Counted.open_now == 0
    (problem,) = examine(settings(Alone), seed=0, seconds=0.01).problems
    assert "the simulator runs already" in problem
    assert Counted.open_now == 0


class LaterRaises(Counted):
    """Those that are made after the first."""

    error: BaseException

    def step(self, action: Any) -> Any:
        if Counted.made > 1:
            raise self.error
        return super().step(action)


@pytest.mark.parametrize("error", [RuntimeError("a\nfuse"), SystemExit(3)])
def test_check_where_a_second_one_raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LaterRaises, "error", error, raising=False)
    (problem,) = examine(settings(LaterRaises), seed=0, seconds=0.01).problems
    said = " ".join(str(error).split())
    assert problem == f"{type(error).__name__} in an episode of another environment, seed 0: {said}"
    assert Counted.open_now == 0


class ExitsInStep(Counted):
    def step(self, action: Any) -> Any:
        sys.exit(3)


def test_check_of_one_that_ends_the_program() -> None:
    assert examine(settings(ExitsInStep), seed=0, seconds=0.01).problems == ["SystemExit in step 1: 3"]


def in_processes(num_envs: int) -> AsyncVectorEnv:
    return AsyncVectorEnv([Counted] * num_envs)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("killed", [False, True])
def test_a_vector_whose_processes_are_in_the_middle_of_a_step(killed: bool) -> None:
    """As a signal leaves it that comes when some answers are taken; or one process has died."""
    environments = make_environments(EnvironmentSettings(id=f"{HERE}:in_processes"), 3)
    environments.reset([0, 1, 2])
    vector = environments._vector.unwrapped
    vector.step_async([0, 1, 0])
    assert vector.parent_pipes[0].recv()[1]
    if killed:
        vector.processes[1].kill()
        vector.processes[1].join()
    environments.close()
    if not killed:
        assert [process.exitcode for process in vector.processes] == [0] * 3
    assert not any(process.is_alive() for process in vector.processes)


def always_a_vector() -> AsyncVectorEnv:
    return AsyncVectorEnv([Counted] * 2)


@pytest.mark.parametrize("name", ["always_a_vector", "two_at_least"])
def test_a_factory_that_makes_another_vector_than_was_asked_for(name: str) -> None:
    words = (
        "got a vector of 2: give it an argument num_envs" if name == "always_a_vector" else "= 1, got one of 2: make"
    )
    for use in (lambda asked: make_environments(asked, 1), lambda asked: examine(asked, seed=0, seconds=0.01)):
        with pytest.raises(EnvironmentFault, match=words):
            use(EnvironmentSettings(id=f"{HERE}:{name}"))
        assert multiprocessing.active_children() == []


def two_at_least(num_envs: int) -> AsyncVectorEnv:
    return AsyncVectorEnv([Counted] * max(2, num_envs))
